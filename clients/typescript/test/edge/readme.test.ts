import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { until } from '../until.js';
import { edges, live, person, texts } from './people.js';

test('the first lines of the README work as they are, but for the address and the name', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const bobs = await live(bob);
  const readme = await readFile('README.md', 'utf8');
  const [, snippet] = /```ts\n([\s\S]*?)```/.exec(readme)!;
  const program = snippet!
    .replace("'https://chat.example.com'", JSON.stringify(edges[0]))
    .replaceAll("'bob'", JSON.stringify(bob.name))
    .replace("'@bbgram/chat'", "'../../src/index.js'");
  const session = { data: { session: { access_token: alice.token() } } };
  vi.stubGlobal('supabase', { auth: { getSession: async () => session } });
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  const file = join(import.meta.dirname, `readme-${process.pid}.tmp.ts`);
  await writeFile(file, `${program}\nexport { chat };\n`);
  try {
    const { chat } = await import(/* @vite-ignore */ file);
    await until(bobs, () => texts(bobs, alice.name)[0] === 'Hello!');
    await until(chat, () => chat.getConversation(bob.name)?.messages[0]?.state === 'delivered');
    expect(log).toHaveBeenCalledWith('pending', 'Hello!');
    expect(log).toHaveBeenLastCalledWith('delivered', 'Hello!');
    await chat.close();
  } finally {
    await rm(file);
    log.mockRestore();
  }
});
