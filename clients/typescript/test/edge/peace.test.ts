import { expect, test } from 'vitest';
import type { Chat, ChatItem } from '../../src/index.js';
import { until } from '../until.js';
import { edges, live, person, texts, type Person } from './people.js';

const item = (chat: Chat, { name }: Person): ChatItem | undefined => chat.getConversation(name);
const state = (chat: Chat, { name }: Person): string | undefined => chat.getConversation(name)?.messages.at(-1)?.state;

/** Two who have written to each other, and another device of the first. */
async function friends() {
  const [alice, bob] = [person('alice'), person('bob')];
  const bobs = await live(bob, { url: edges[1]! });
  const [alices, other] = [await live(alice), await live(alice, { url: edges[1]! })];
  alices.send(bob.name, 'Hello');
  await until(bobs, () => texts(bobs, alice.name).length === 1);
  bobs.send(alice.name, 'Hi');
  for (const chat of [alices, other]) await until(chat, () => chat.getConversation(bob.name)?.lastSeq === 2);
  await alices.open(bob.name);
  return { alice, bob, alices, other, bobs };
}

test('a block shows at once, on every device, and ends what either hears from the other', async () => {
  const { alice, bob, alices, other, bobs } = await friends();
  await until(alices, () => item(alices, bob)?.peer.online);
  const blocking = alices.block(bob.name);
  expect(item(alices, bob)).toMatchObject({ blocked: true });
  await blocking;
  await until(other, () => item(other, bob)?.blocked);
  await until(alices, () => !item(alices, bob)?.peer.online);
  expect((await other.listBlocked()).users).toMatchObject([{ userId: bob.id, username: bob.name }]);

  for (const [chat, peer] of [[bobs, alice], [alices, bob]] as const) {
    chat.send(peer.name, 'Still there?');
    await until(chat, () => state(chat, peer) === 'failed');
    expect(chat.getConversation(peer.name)!.messages.at(-1)!.error).toMatchObject({ code: 'not_allowed', retryable: false });
    chat.discard(chat.getConversation(peer.name)!.messages.at(-1)!.key);
  }
  expect(item(bobs, alice)).toMatchObject({ blocked: false, box: 'inbox' });

  await other.unblock(bob.name);
  await until(alices, () => !item(alices, bob)?.blocked && item(alices, bob)?.peer.online);
  expect(await alices.listBlocked()).toEqual({ users: [], nextCursor: null });
  bobs.send(alice.name, 'Peace');
  await until(alices, () => texts(alices, bob.name).includes('Peace'));
});

test('somebody with whom there is no chat can be blocked, and that appears in no list', async () => {
  const [alice, mallory] = [person('alice'), person('mallory')];
  const [alices, mallorys] = [await live(alice), await live(mallory)];
  await alices.block(mallory.name);
  mallorys.send(alice.name, 'Hello');
  await until(mallorys, () => state(mallorys, alice) === 'failed');
  expect(alices.getChats().items).toEqual([]);
  expect((await alices.open(mallory.name)).blocked).toBe(true);
  await expect(alices.block(alice.name)).rejects.toMatchObject({ code: 'not_allowed' });
});

test('a chat is pinned, archived and muted on every device, also on one that was away', async () => {
  const { bob, alices, other } = await friends();
  const [carol, dave] = [person('carol'), person('dave')];
  for (const friend of [carol, dave]) {
    await live(friend);
    alices.send(friend.name, 'Hello');
    await until(alices, () => item(alices, friend)?.chatId !== undefined);
  }
  const names = (chat: Chat): string[] => chat.getChats().items.map(({ peer }) => peer.username);
  expect(names(alices)).toEqual([dave.name, carol.name, bob.name]);
  const pinning = alices.pin(bob.name, true);
  expect(names(alices)).toEqual([bob.name, dave.name, carol.name]);
  await pinning;
  await until(other, () => names(other)[0] === bob.name);

  other.setOnline(false);
  const archiving = alices.archive(carol.name, true);
  expect(names(alices)).toEqual([bob.name, dave.name]);
  await archiving;
  const muting = alices.mute(dave.name, new Date('2030-01-02T03:04:05Z'));
  expect(item(alices, dave)!.mutedUntil).toBe('2030-01-02T03:04:05.000Z');
  await muting;
  await alices.pin(bob.name, false);
  other.setOnline(true);
  await until(other, () => other.getConnection().state === 'live');
  expect(names(other)).toEqual([dave.name, bob.name]);
  expect(item(other, dave)!.mutedUntil).toBe('2030-01-02T03:04:05.000Z');
  await other.loadMoreChats('archived');
  expect(other.getChats('archived')).toMatchObject({ hasMore: false, items: [{ peer: { username: carol.name }, box: 'archived' }] });

  await other.archive(carol.name, false);
  await other.mute(dave.name, null);
  await until(alices, () => item(alices, carol)?.box === 'inbox' && !item(alices, dave)?.mutedUntil);
  expect(item(alices, carol)).toMatchObject({ pinned: false, blocked: false });
});

test('a stranger waits in the requests until they are accepted', async () => {
  const [alice, eve] = [person('alice'), person('eve')];
  const [alices, other] = [await live(alice), await live(alice, { url: edges[1]! })];
  await alices.updateSettings({ messagesFrom: 'requests' });
  const eves = await live(eve);
  for (const text of ['1', '2', '3', '4']) eves.send(alice.name, text);
  await until(eves, () => state(eves, alice) === 'failed');
  expect(eves.getConversation(alice.name)!.messages.map((message) => message.state)).toEqual(['sent', 'sent', 'sent', 'failed']);
  for (const chat of [alices, other]) {
    await until(chat, () => chat.getChats('requests').items[0]?.lastSeq === 3);
    expect(chat.getChats().items).toEqual([]);
    expect(chat.getChats('requests').items).toMatchObject([{ peer: { username: eve.name, online: false }, unread: 3 }]);
  }
  expect(item(eves, alice)?.peer.online).toBe(false);

  await expect(alices.pin(eve.name, true)).rejects.toMatchObject({ code: 'not_allowed' });
  expect(item(alices, eve)).toMatchObject({ box: 'requests', pinned: false });
  const accepting = alices.accept(eve.name);
  expect(alices.getChats().items).toHaveLength(1);
  expect(alices.getChats('requests').items).toEqual([]);
  await accepting;
  await until(other, () => item(other, eve)?.box === 'inbox');
  await until(eves, () => eves.getConversation(alice.name)?.messages[2]?.state === 'delivered');
  await expect(alices.decline(eve.name)).rejects.toMatchObject({ code: 'not_allowed' });
  expect(item(alices, eve)!.box).toBe('inbox');
});

test('a declined request is in no list, on a device that was away neither', async () => {
  const [alice, eve] = [person('alice'), person('eve')];
  const [alices, other] = [await live(alice), await live(alice)];
  await alices.updateSettings({ messagesFrom: 'requests' });
  const eves = await live(eve);
  eves.send(alice.name, 'Hello');
  await until(other, () => other.getChats('requests').items.length === 1);
  await until(alices, () => item(alices, eve)?.box === 'requests');
  other.setOnline(false);
  await alices.decline(eve.name);
  for (const box of ['inbox', 'requests', 'archived'] as const) expect(alices.getChats(box).items).toEqual([]);
  eves.send(alice.name, 'Hello?');
  await until(eves, () => state(eves, alice) === 'failed');
  other.setOnline(true);
  await until(other, () => other.getConnection().state === 'live');
  expect(other.getChats('requests').items).toEqual([]);
  expect(other.getChats('declined').items).toMatchObject([{ peer: { username: eve.name } }]);
  other.send(eve.name, 'I have changed my mind');
  await until(alices, () => item(alices, eve)?.box === 'inbox');
});

test('settings are the same on every device, and are refused as a whole', async () => {
  const alice = person('alice');
  const [alices, other] = [await live(alice), await live(alice, { url: edges[1]! })];
  const usual = { messagesFrom: 'everyone', readReceipts: true, showPresence: 'chats', pushTexts: true };
  expect(alices.getSettings()).toBeUndefined();
  await Promise.all([alices.loadSettings(), other.loadSettings()]);
  expect(alices.getSettings()).toEqual(usual);
  const updating = alices.updateSettings({ readReceipts: false });
  expect(alices.getSettings()).toEqual({ ...usual, readReceipts: false });
  await updating;
  await until(other, () => other.getSettings()?.readReceipts === false);

  other.setOnline(false);
  await alices.updateSettings({ showPresence: 'nobody', messagesFrom: 'nobody' });
  other.setOnline(true);
  await until(other, () => other.getSettings()?.messagesFrom === 'nobody');
  const refused = other.updateSettings({ pushTexts: false, showPresence: 'friends' as 'nobody' });
  expect(other.getSettings()).toMatchObject({ pushTexts: false });
  await expect(refused).rejects.toMatchObject({ code: 'invalid_payload' });
  expect(other.getSettings()).toEqual({ ...usual, messagesFrom: 'nobody', readReceipts: false, showPresence: 'nobody' });
});
