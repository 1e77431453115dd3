import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const run = promisify(execFile);
/** What an app has beside the package. */
const OTHERS = ['@types/react', 'csstype', 'react', 'socket.io-client', 'typescript'];
const APP = `
import { createChat, ChatError, type Conversation, type ErrorCode, type Message } from '@bbgram/chat';
import { ChatProvider, useChat, useChats, useConnection } from '@bbgram/chat/react';

const chat = createChat({ url: 'http://127.0.0.1:1', token: async () => 'token' });
const conversation: Conversation | undefined = chat.getConversation('bob');
const code: ErrorCode = 'busy';
const text = (message: Message): string => message.text;
// @ts-expect-error: a text is no number
const wrong: number = chat.send('bob', 'Hello').text;
if (chat.getChats().items.length !== 1 || new ChatError(code).retryable !== true) throw new Error('wrong');
console.log([ChatProvider, useChat, useChats, useConnection].map((each) => typeof each).join(), conversation, text, wrong);
`;
let app: string;

beforeAll(async () => {
  app = await mkdtemp(join(tmpdir(), 'bbgram-app-'));
  const { stdout } = await run('npm', ['pack', '--json', '--silent', '--pack-destination', app]);
  const tarball = (await readdir(app)).find((name) => name.endsWith('.tgz'))!;
  expect(stdout).toContain(tarball);
  await writeFile(join(app, 'package.json'), JSON.stringify({ name: 'app', type: 'module', private: true }));
  await run('npm', ['install', '--offline', '--legacy-peer-deps', '--no-audit', '--no-fund', `./${tarball}`], { cwd: app });
  for (const name of OTHERS) {
    await mkdir(join(app, 'node_modules', name, '..'), { recursive: true });
    await symlink(join(process.cwd(), 'node_modules', name), join(app, 'node_modules', name));
  }
  await writeFile(join(app, 'app.ts'), APP);
}, 60_000);
afterAll(() => rm(app, { recursive: true, force: true }));

test('the package holds what an app needs and nothing else', async () => {
  const installed = join(app, 'node_modules/@bbgram/chat');
  expect((await readdir(installed)).sort()).toEqual(['README.md', 'dist', 'package.json']);
  const files = await readdir(join(installed, 'dist'));
  expect(files).toEqual(expect.arrayContaining(['index.js', 'index.d.ts', 'react.js', 'react.d.ts']));
});

test('what its README shows type-checks there', { timeout: 120_000 }, async () => {
  const readme = await readFile('README.md', 'utf8');
  const snippets = [...readme.matchAll(/```(tsx?)\n([\s\S]*?)```/g)];
  expect(snippets).toHaveLength(2);
  const files = snippets.map(([, kind], place) => `readme-${place}.${kind}`);
  for (const [place, [, , text]] of snippets.entries())
    await writeFile(join(app, files[place]!), `declare const supabase: any;\n${text}`);
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--jsx', 'react-jsx', '--types', ''];
  await run('node', ['node_modules/typescript/bin/tsc', ...options, ...files], { cwd: app }).catch((error) => {
    throw new Error(error.stdout);
  });
});

test.each([
  ['nodenext', 'nodenext'],
  ['esnext', 'bundler'],
])('it type-checks in a fresh project: module %s', { timeout: 120_000 }, async (module, moduleResolution) => {
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--types', ''];
  const options = ['--noEmit', '--module', module, '--moduleResolution', moduleResolution, '--target', 'es2022'];
  await run('node', ['node_modules/typescript/bin/tsc', ...strict, ...options, 'app.ts'], { cwd: app }).catch((error) => {
    throw new Error(error.stdout);
  });
});

test('it runs there', { timeout: 120_000 }, async () => {
  const options = ['--module', 'nodenext', '--target', 'es2022', '--types', ''];
  await run('node', ['node_modules/typescript/bin/tsc', ...options, 'app.ts'], { cwd: app });
  const { stdout } = await run('node', ['app.js'], { cwd: app });
  expect(stdout).toMatch(/^function,function,function,function/);
});
