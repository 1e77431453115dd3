import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';

test.each(['api', 'chat', 'errors', 'indexeddb', 'react', 'storage'])('all that an app can use of %s is described', async (module) => {
  const lines = (await readFile(`src/${module}.ts`, 'utf8')).split('\n');
  const members = lines.flatMap((line, place) => (/^(export |  \w+\??(\(.*\))?: .*;$)/.test(line) ? [place] : []));
  const isDescribed = (place: number): boolean => /\*\/$/.test(lines[place - 1] ?? '') || /^export \{|^export type \*/.test(lines[place]!);
  const apart = members.filter((place) => !isDescribed(place)).map((place) => lines[place]);
  expect(apart).toEqual([]);
});

test('the README names every call', async () => {
  const [readme, api] = await Promise.all([readFile('README.md', 'utf8'), readFile('src/api.ts', 'utf8')]);
  const calls = [...api.split('export interface Chat {')[1]!.matchAll(/^  (\w+)\(/gm)].map(([, name]) => name);
  expect(calls.length).toBeGreaterThan(15);
  expect(calls.filter((name) => !readme.includes(`${name}(`))).toEqual([]);
});
