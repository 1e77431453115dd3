import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { until } from '../until.js';
import { live, person, texts, type Person } from './people.js';

/** Have a chat deleted from the database; see tests/e2e/test_typescript_client.py. */
async function deleteChat(chatId: string): Promise<void> {
  const file = join(process.env.BBGRAM_DELETE!, chatId);
  writeFileSync(file, '');
  await vi.waitFor(() => expect(existsSync(file)).toBe(false), 60_000);
}

/** Alice with an open chat and one that is only listed; both are deleted while she is offline. */
async function withDeletedChats() {
  const [alice, bob, carol]: Person[] = [person('alice'), person('bob'), person('carol')];
  const [alices, bobs, carols] = [await live(alice!), await live(bob!), await live(carol!)];
  for (const [chat, name] of [[bobs, 'Bob'], [carols, 'Carol']] as const) chat.send(alice!.name, `I am ${name}`);
  await until(alices, () => alices.getChats().items.length === 2 && alices.getChats().items.every(({ unread }) => unread === 1));
  const { chatId } = await alices.open(bob!.name);
  alices.setOnline(false);
  await deleteChat(chatId!);
  await deleteChat(alices.getConversation(carol!.name)!.chatId!);
  return { alice: alice!, bob: bob!, alices, bobs, gone: chatId! };
}

test('chats that are deleted leave the list at the next connect', async () => {
  const { bob, alices, gone } = await withDeletedChats();
  alices.setOnline(true);
  await until(alices, () => alices.getConnection().state === 'live');
  expect(alices.getChats().items).toEqual([]);
  expect(alices.getConversation(bob.name)).toBeUndefined();
  await expect(alices.open(bob.name)).resolves.toMatchObject({ messages: [] });
  expect(alices.getConversation(bob.name)!.chatId).not.toBe(gone);
});

test('a chat that is deleted and begun anew is there once, with what was not sent yet', async () => {
  const { alice, bob, alices, bobs, gone } = await withDeletedChats();
  bobs.send(alice.name, 'Again');
  await until(bobs, () => bobs.getConversation(alice.name)!.messages.every(({ seq }) => seq));
  alices.send(bob.name, 'Me too');
  alices.setOnline(true);
  await until(alices, () => alices.getConversation(bob.name)?.messages.at(-1)?.state === 'delivered');
  expect(texts(alices, bob.name)).toEqual(['Again', 'Me too']);
  expect(alices.getChats().items).toMatchObject([{ peer: { username: bob.name }, lastSeq: 2, unread: 1 }]);
  expect(alices.getConversation(bob.name)!.chatId).not.toBe(gone);
  await until(bobs, () => texts(bobs, alice.name).at(-1) === 'Me too');
  expect(texts(bobs, alice.name)).toEqual(['Again', 'Me too']);
});

test('a chat that the server does not clear shows its messages again', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const alices = await live(alice);
  const bobs = await live(bob);
  bobs.send(alice.name, 'Hello');
  await until(alices, () => texts(alices, bob.name).length === 1);
  await deleteChat(alices.getConversation(bob.name)!.chatId!);

  const refused = alices.clear(bob.name);
  expect(texts(alices, bob.name)).toEqual([]);
  await expect(refused).rejects.toMatchObject({ code: 'chat_not_found' });
  expect(texts(alices, bob.name)).toEqual(['Hello']);
});
