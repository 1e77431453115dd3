// @vitest-environment happy-dom
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { act } from 'react';
import { createRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { expect, test, vi } from 'vitest';

test('the app for React in the README is rendered by a server and by a browser', async () => {
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true);
  const [, snippet] = /```tsx\n([\s\S]*?)```/.exec(await readFile('README.md', 'utf8'))!;
  const app = snippet!
    .replace("'@bbgram/chat'", "'../../src/index.js'")
    .replace("'@bbgram/chat/react'", "'../../src/react.js'")
    .replace('https://chat.example.com', 'http://127.0.0.1:1');
  const file = join(import.meta.dirname, `readme-${process.pid}.tmp.tsx`);
  await writeFile(file, `${app}\nexport { chat };\n`);
  const { App, chat } = await import(/* @vite-ignore */ file).finally(() => rm(file));
  expect(renderToString(<App />)).toBe('<ul aria-busy="true"></ul><ol></ol>');

  const page = document.body.appendChild(document.createElement('main'));
  const root = createRoot(page);
  await act(async () => root.render(<App />));
  await act(async () => chat.send('bob', 'Hello'));
  expect(page.innerHTML).toBe('<ul aria-busy="true"><li>bob  Hello</li></ul><ol><li>Hello <small>pending</small></li></ol>');
  await act(async () => root.unmount());
  vi.unstubAllGlobals();
});
