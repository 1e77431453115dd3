import { afterEach, expect, test, vi } from 'vitest';
import { foldName, randomId, subjectOf } from '../../src/identity.js';
import { pauseMs } from '../../src/pause.js';
import { ChatError, retryable, type ErrorCode } from '../../src/index.js';
import { failureIn } from '../../src/errors.js';

afterEach(() => vi.unstubAllGlobals());

test('the subject of a token is read without checking it', () => {
  const payload = Buffer.from(JSON.stringify({ sub: 'alice-id', name: 'Älice?>' })).toString('base64url');
  expect(subjectOf(`header.${payload}.signature`)).toBe('alice-id');
  for (const other of ['', 'opaque', 'a.b.c', `a.${Buffer.from('{"sub":1}').toString('base64url')}.c`])
    expect(subjectOf(other)).toBeUndefined();
});

test.each([
  ['everywhere', () => {}],
  ['on pages without TLS', () => vi.stubGlobal('crypto', { getRandomValues: crypto.getRandomValues.bind(crypto) })],
  ['without crypto', () => vi.stubGlobal('crypto', undefined)],
])('ids are random UUIDs %s', (_, prepare) => {
  prepare();
  const ids = Array.from({ length: 100 }, randomId);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(ids).size).toBe(100);
});

test.each([
  ['Bob', 'bob'],
  [' bob  smith ', 'Bob Smith'],
  ['ﬁona', 'FIONA'],
  ['Ｂob', 'bob'],
])('%o and %o are the same name', (one, other) => {
  expect(foldName(one)).toBe(foldName(other));
});

test('pauses grow, vary, and are never shorter than the server asks for', () => {
  const longest = (tries: number): number => {
    vi.spyOn(Math, 'random').mockReturnValue(1);
    const found = pauseMs(tries);
    vi.restoreAllMocks();
    return found;
  };
  expect([0, 1, 2, 3, 20].map(longest)).toEqual([500, 1000, 2000, 4000, 30_000]);
  for (let tries = 0; tries < 8; tries++) expect(pauseMs(tries)).toBeGreaterThanOrEqual(longest(tries) / 2);
  expect(pauseMs(0, new ChatError('rate_limited', undefined, 90_000))).toBe(90_000);
});

test('every code of the server has an error that says whether to try again', () => {
  for (const code of Object.keys(retryable) as ErrorCode[]) {
    const error = failureIn({ code, error: 'A sentence.', retryAfterMs: 5 });
    expect(error).toMatchObject({ code, message: 'A sentence.', retryAfterMs: 5, retryable: retryable[code] });
    expect(error).toBeInstanceOf(Error);
  }
  expect(failureIn({ code: 'busy', message: 'Of an event.' }).message).toBe('Of an event.');
  expect(failureIn({ code: 'from_the_future' as ErrorCode }).retryable).toBe(false);
});
