import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInNewContext } from 'node:vm';

import { runnerImport } from 'vite';

const { pieces } = (await runnerImport('/src/conversation/links.ts')).module;

/** The links in a text. */
const links = (text) => pieces(text).flatMap((piece) => (piece.href ? [piece.text] : []));

const BITS = ['.', ')', '(', '…', 'ü', ' ', '/', '@', 'http:', 'http://a'];

/** A hundred times as long as a message may be: quadratic work on this would take a minute, linear work takes milliseconds. */
const LENGTH = 400_000;
const LIMIT_MS = 10_000;

for (const [text, expected] of [
  ['See https://example.com/a_(b).', ['https://example.com/a_(b)']],
  ['(see http://example.com/)', ['http://example.com/']],
  ['((http://example.com/(a)).)', ['http://example.com/(a)']],
  ['http://example.com/...?! and mailto:ann@example.com,', ['http://example.com/', 'mailto:ann@example.com']],
  ['javascript:alert(1) data:text/html,x ftp://example.com http://', []],
])
  test(`links in ${text}`, () => assert.deepEqual(links(text), expected));

test('the time for a text grows with its length only, whatever it holds', () => {
  const half = (bit) => bit.repeat(LENGTH / 2 / bit.length);
  for (const first of BITS) {
    const texts = BITS.flatMap((second) => ['', 'http://a'].map((head) => `${head}${half(first)}a${half(second)}`));
    for (const text of texts) {
      const shape = `${text.slice(0, 20)} to ${text.slice(-20)}`;
      // What takes too long is ended, so that the test says which text it was.
      assert.doesNotThrow(() => runInNewContext('find(text)', { find: pieces, text }, { timeout: LIMIT_MS }), shape);
    }
  }
});

test('what no server can be called is no link, and costs no time', () => {
  const name = Array.from({ length: LENGTH }, (_, place) => String.fromCodePoint(0x4e00 + (place % 20_000))).join('');
  for (const slashes of ['', '//', '/////']) assert.deepEqual(links(`http://${slashes}${name}`), []);
  assert.deepEqual(links(`http://例え.jp/${name}`), [`http://例え.jp/${name}`]);
});

test('what was cut is the text, when put together', () => {
  for (const first of BITS)
    for (const second of BITS)
      for (const third of BITS) {
        const text = `http://a${first}${second}${third}${first}`;
        assert.equal(pieces(text).map((piece) => piece.text).join(''), text);
      }
});
