import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

async function size(source: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: 'src', loader: 'ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    external: ['socket.io-client', 'react'],
    write: false,
  });
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
}

test('the client takes at most 13.5 kB of a page, without Socket.IO', async () => {
  expect(await size("export * from './index.js'; export * from './react.js';")).toBeLessThanOrEqual(13_500);
});

test('an app pays only for what it imports', async () => {
  expect(await size("export { ChatError } from './index.js';")).toBeLessThan(1_000);
});
