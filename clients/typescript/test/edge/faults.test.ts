import { existsSync, writeFileSync } from 'node:fs';
import { test } from 'vitest';
import { memoryStorage, type Chat, type ChatMessage } from '../../src/index.js';
import { until } from '../until.js';
import { clientOf, edges, live, person, texts, type Person } from './people.js';

/** tests/e2e/test_typescript_client.py breaks things meanwhile, makes this file at the end, and checks the report. */
const { BBGRAM_FAULTS: over = '', BBGRAM_REPORT: report = '' } = process.env;
const AT_LEAST = 60;
const AT_ONCE = 5;
const PATIENCE_MS = 35_000;

const reported = new Set<string>();

/** Note every message that a client says is stored. */
function watch(chat: Chat, peer: Person): Chat {
  chat.subscribe(() => {
    for (const { mine, key, state } of chat.getConversation(peer.name)?.messages ?? [])
      if (mine && state !== 'pending' && state !== 'failed') reported.add(key);
  });
  return chat;
}

const pending = (chat: Chat, peer: Person): ChatMessage[] =>
  chat.getConversation(peer.name)?.messages.filter((message) => message.state === 'pending') ?? [];

/** Send until everything has been broken. Half-way, the app is restarted. */
async function keepSending(first: Chat, me: Person, peer: Person, restart: () => Promise<Chat>): Promise<Chat> {
  let chat = first;
  for (let number = 1; number <= AT_LEAST || !existsSync(over); number++) {
    chat.send(peer.name, `${me.name} ${number}`);
    await until(chat, () => pending(chat, peer).length < AT_ONCE, PATIENCE_MS);
    if (number === AT_LEAST / 2) {
      chat.send(peer.name, `${me.name} before the restart`);
      await chat.close();
      chat = await restart();
    }
  }
  return chat;
}

test('two people write while everything breaks', { timeout: 60_000 }, async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const start = async (me: Person, peer: Person, url: string): Promise<Chat> => {
    const storage = memoryStorage();
    const chat = watch(await live(me, { url, storage }), peer);
    return keepSending(chat, me, peer, async () => {
      const again = watch(clientOf(me, { url, storage }), peer);
      again.connect();
      await again.open(peer.name);
      return again;
    });
  };
  await (await live(bob)).close();
  await (await live(alice)).close();
  const [alices, bobs] = await Promise.all([start(alice, bob, edges[0]!), start(bob, alice, edges[1]!)]);

  for (const [chat, peer] of [[alices, bob], [bobs, alice]] as const) {
    await until(chat, () => chat.getConnection().state === 'live' && !pending(chat, peer).length, PATIENCE_MS);
    while (chat.getConversation(peer.name)!.hasOlder) await chat.loadOlder(peer.name);
  }
  await until(alices, () => texts(alices, bob.name).length === bobs.getConversation(alice.name)!.lastSeq, PATIENCE_MS);
  await until(bobs, () => texts(bobs, alice.name).length === alices.getConversation(bob.name)!.lastSeq, PATIENCE_MS);
  const stores = [alices.getConversation(bob.name)!.messages, bobs.getConversation(alice.name)!.messages];
  const rows = stores.map((messages) => messages.map(({ seq, id, text }) => [seq, id, text]));
  writeFileSync(report, JSON.stringify({ stores: rows, reported: [...reported] }));
});
