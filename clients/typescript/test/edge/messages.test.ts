import { afterEach, expect, test, vi } from 'vitest';
import { memoryStorage, type Chat, type ChatMessage, type WireEvent } from '../../src/index.js';
import { webLocks } from '../locks.js';
import { until } from '../until.js';
import { clientOf, edges, live, person, renamed, texts } from './people.js';

afterEach(() => vi.unstubAllGlobals());

test('a message arrives, and its sender sees it delivered and read', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const bobs = await live(bob, { url: edges[1]! });
  const alices = await live(alice);

  const sent = alices.send(bob.name, 'Hello');
  expect(sent).toMatchObject({ state: 'pending', mine: true, text: 'Hello', senderId: alice.id });
  expect(alices.getConversation(bob.name)?.messages).toMatchObject([{ key: sent.key, state: 'pending' }]);
  await until(alices, () => alices.getConversation(bob.name)?.messages[0]?.state === 'delivered');
  await until(bobs, () => texts(bobs, alice.name).length === 1);
  expect(bobs.getChats().items).toMatchObject([{ unread: 1, lastSeq: 1, lastMessage: { text: 'Hello', mine: false } }]);

  await bobs.markRead(alice.name);
  expect(bobs.getChats().items[0]!.unread).toBe(0);
  await until(alices, () => alices.getConversation(bob.name)?.messages[0]?.state === 'read');
  expect(alices.getConversation(bob.name)!.messages[0]).toMatchObject({ key: sent.key, seq: 1 });
});

test('messages that are written before and between connections are sent in order, once', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  await live(bob);
  const alices = clientOf(alice);
  alices.send(bob.name, '1');
  alices.send(bob.name, '2');
  alices.connect();
  await until(alices, () => alices.getConversation(bob.name)?.lastSeq === 2);
  alices.setOnline(false);
  expect(alices.getConnection().state).toBe('offline');
  alices.send(bob.name, '3');
  alices.send(bob.name, '4');
  alices.setOnline(true);
  await until(alices, () => alices.getConversation(bob.name)?.lastSeq === 4);
  expect(texts(alices, bob.name)).toEqual(['1', '2', '3', '4']);
  expect(alices.getConversation(bob.name)!.messages.map((message) => message.seq)).toEqual([1, 2, 3, 4]);
});

test('a message to nobody fails, and can be sent again or discarded', async () => {
  const alices = await live(person('alice'));
  const { name } = person('nobody');
  const { key } = alices.send(name, 'Anybody there?');
  await until(alices, () => alices.getConversation(name)?.messages[0]?.state === 'failed');
  expect(alices.getConversation(name)!.messages[0]!.error).toMatchObject({ code: 'user_not_found', retryable: false });
  alices.retry(key);
  expect(alices.getConversation(name)!.messages[0]!.state).toBe('pending');
  await until(alices, () => alices.getConversation(name)?.messages[0]?.state === 'failed');
  alices.discard(key);
  expect(alices.getConversation(name)).toBeUndefined();
  await expect(alices.open(name)).rejects.toMatchObject({ code: 'user_not_found' });
});

test('what another device of the user sends and reads shows here', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const bobs = await live(bob);
  const [phone, laptop] = [await live(alice), await live(alice, { url: edges[1]! })];
  phone.send(bob.name, 'From the phone');
  await until(laptop, () => texts(laptop, bob.name)[0] === 'From the phone');
  bobs.send(alice.name, 'Hi');
  await until(laptop, () => laptop.getChats().items[0]?.unread === 1);
  await until(phone, () => phone.getChats().items[0]?.unread === 1);
  await phone.markRead(bob.name);
  await until(laptop, () => laptop.getChats().items[0]?.unread === 0);
});

test('what was missed while offline is here after the next connect, on every device', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const [bobs, alices, other] = [await live(bob), await live(alice), await live(alice)];
  bobs.send(alice.name, '1');
  await alices.open(bob.name);
  await until(alices, () => texts(alices, bob.name).length === 1);
  alices.setOnline(false);
  for (let number = 2; number <= 130; number++) bobs.send(alice.name, String(number));
  await until(other, () => other.getConversation(bob.name)?.lastSeq === 130);
  await until(bobs, () => bobs.getConversation(alice.name)?.messages.every((message) => message.state === 'delivered'));
  expect(texts(alices, bob.name)).toEqual(['1']);
  alices.setOnline(true);
  await until(alices, () => alices.getConnection().state === 'live');
  expect(texts(alices, bob.name)).toEqual(Array.from({ length: 130 }, (_, place) => String(place + 1)));
  expect(alices.getConversation(bob.name)).toMatchObject({ hole: false, unread: 130 });
});

test('history comes in pages', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const [bobs, alices] = [await live(bob), await live(alice)];
  for (let number = 1; number <= 120; number++) bobs.send(alice.name, String(number));
  await until(bobs, () => bobs.getConversation(alice.name)?.lastSeq === 120);
  await alices.close();
  const fresh = await live(alice);
  expect(fresh.getChats().items[0]).toMatchObject({ unread: 120, lastSeq: 120, lastMessage: { text: '120' } });
  expect(await fresh.open(bob.name)).toMatchObject({ hasOlder: true, hole: false });
  expect(texts(fresh, bob.name).at(0)).toBe('71');
  await Promise.all([fresh.loadOlder(bob.name), fresh.loadOlder(bob.name)]);
  expect(texts(fresh, bob.name).at(0)).toBe('21');
  await fresh.loadOlder(bob.name);
  expect(texts(fresh, bob.name)).toHaveLength(120);
  expect(fresh.getConversation(bob.name)).toMatchObject({ hasOlder: false, unread: 120 });
  await fresh.markRead(bob.name, 20);
  expect(fresh.getConversation(bob.name)!.unread).toBe(100);
});

test('the list of chats comes in pages, newest activity first, and follows what happens', async () => {
  const alice = person('alice');
  const people = Array.from({ length: 60 }, (_, place) => person(`friend${place}`));
  const [first, last] = [people[0]!, people[59]!];
  const alices = await live(alice);
  const friends = [await live(first), await live(last)];
  for (const friend of people.slice(1, 59)) await (await live(friend)).close();
  for (const friend of people) {
    await alices.open(friend.name);
    alices.send(friend.name, 'Hello');
    await until(alices, () => alices.getConversation(friend.name)?.lastSeq === 1);
  }
  const fresh = await live(alice);
  expect(fresh.getChats().items).toHaveLength(50);
  expect(fresh.getChats().hasMore).toBe(true);
  friends[0]!.send(alice.name, 'I am still here');
  await until(fresh, () => fresh.getChats().items[0]?.peer.username === first.name && fresh.getChats().items[0]?.peer.online);
  expect(fresh.getChats().items[0]).toMatchObject({ unread: 1, lastSeq: 2 });
  await fresh.loadMoreChats();
  expect(fresh.getChats().hasMore).toBe(false);
  const order = [first, ...people.slice(1).reverse()].map((friend) => friend.name);
  expect(fresh.getChats().items.map((item) => item.peer.username)).toEqual(order);
});

test('a note to self is stored and not counted as unread', async () => {
  const alice = person('alice');
  const [alices, other] = [await live(alice), await live(alice)];
  alices.send(alice.name, 'Milk');
  await until(alices, () => alices.getConversation(alice.name)?.lastSeq === 1);
  await until(other, () => texts(other, alice.name)[0] === 'Milk');
  expect(other.getChats().items).toMatchObject([{ unread: 0, lastMessage: { mine: true } }]);
});

test('two tabs of a browser send what both have written once, in order, and show the same', async () => {
  vi.stubGlobal('navigator', { locks: webLocks() });
  const [alice, bob] = [person('alice'), person('bob')];
  await live(bob);
  const storage = memoryStorage();
  const [one, other] = [await live(alice, { storage }), await live(alice, { storage, url: edges[1]! })];
  const sends: WireEvent[] = [];
  for (const tab of [one, other]) {
    tab.onEvent((event) => event.direction === 'out' && event.name === 'send_message' && sends.push(event));
    tab.setOnline(false);
  }
  const wanted = Array.from({ length: 20 }, (_, place) => String(place));
  for (const [place, text] of wanted.entries()) {
    const [writer, reader] = place % 2 ? [one, other] : [other, one];
    writer.send(bob.name, text);
    await until(reader, () => texts(reader, bob.name).includes(text));
  }
  for (const tab of [one, other]) tab.setOnline(true);
  for (const tab of [one, other]) {
    await until(tab, () => tab.getConversation(bob.name)?.messages.every((message) => message.seq));
    await until(tab, () => tab.getConversation(bob.name)?.lastSeq === 20 && !tab.getConversation(bob.name)?.hole);
    expect(texts(tab, bob.name)).toEqual(wanted);
  }
  expect(sends).toHaveLength(20);
});

test('messages change on both sides, and what is refused is taken back', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const bobs = await live(bob, { url: edges[1]! });
  const alices = await live(alice);
  alices.send(bob.name, 'Helo');
  await until(alices, () => alices.getConversation(bob.name)?.lastSeq === 1);
  await bobs.open(alice.name);
  const hers = (): ChatMessage => alices.getConversation(bob.name)!.messages[0]!;
  const his = (): ChatMessage => bobs.getConversation(alice.name)!.messages[0]!;

  const editing = alices.edit(bob.name, 1, 'Hello');
  expect(hers()).toMatchObject({ text: 'Hello' });
  await editing;
  expect(hers().editedAt).toBeDefined();
  await until(bobs, () => his().text === 'Hello');

  await bobs.react(alice.name, 1, '👍', true);
  await until(alices, () => hers().reactions?.[0]?.userIds[0] === bob.id);
  await alices.react(bob.name, 1, '👍', true);
  await bobs.react(alice.name, 1, '👍', false);
  await until(alices, () => hers().reactions?.[0]?.userIds.join() === alice.id);

  const refused = bobs.edit(alice.name, 1, 'Bye');
  expect(his().text).toBe('Bye');
  await expect(refused).rejects.toMatchObject({ code: 'not_allowed', retryable: false });
  expect(his().text).toBe('Hello');
  const both = ['One', 'Two'].map((text) => bobs.edit(alice.name, 1, text));
  expect(his().text).toBe('Two');
  for (const one of both) await expect(one).rejects.toMatchObject({ code: 'not_allowed' });
  expect(his().text).toBe('Hello');

  bobs.setOnline(false);
  await alices.unsend(bob.name, 1);
  expect(hers()).toMatchObject({ text: '', reactions: undefined });
  expect(his().text).toBe('Hello');
  bobs.setOnline(true);
  await until(bobs, () => his().deletedAt !== undefined);
  expect(his().text).toBe('');

  await bobs.clear(alice.name);
  expect(texts(bobs, alice.name)).toEqual([]);
  expect(texts(alices, bob.name)).toEqual(['']);
});

test('a message is reported once, and an own one not at all', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const [bobs, alices] = [await live(bob, { url: edges[1]! }), await live(alice)];
  alices.send(bob.name, 'Buy this');
  await until(bobs, () => bobs.getConversation(alice.name)?.lastSeq === 1);
  const id = await bobs.report(alice.name, 1, 'spam', 'again');
  expect(await bobs.report(alice.name, 1, 'other')).toBe(id);
  await expect(alices.report(bob.name, 1, 'spam')).rejects.toMatchObject({ code: 'not_allowed' });
  await expect(bobs.report('nobody', 1, 'spam')).rejects.toMatchObject({ code: 'message_not_found' });
});

test('a reply shows what it answers as it is now, also before it is sent, and data comes as it was given', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const [bobs, alices] = [await live(bob, { url: edges[1]! }), await live(alice)];
  alices.send(bob.name, 'Question');
  await until(bobs, () => bobs.getConversation(alice.name)?.lastSeq === 1);
  await bobs.open(alice.name);
  await alices.open(bob.name);
  const reply = (chat: Chat, peer: string): ChatMessage | undefined => chat.getConversation(peer)!.messages[1];

  bobs.setOnline(false);
  const sent = bobs.send(alice.name, 'Answer', { replyTo: 1, data: { image: 'a.png' } });
  const quote = { seq: 1, senderId: alice.id, text: 'Question' };
  expect(sent).toMatchObject({ state: 'pending', replyTo: quote, data: { image: 'a.png' } });
  bobs.setOnline(true);
  await until(alices, () => alices.getConversation(bob.name)!.lastSeq === 2);
  expect(reply(alices, bob.name)).toMatchObject({ replyTo: quote, data: { image: 'a.png' } });
  await until(bobs, () => reply(bobs, alice.name)?.seq === 2);

  await alices.edit(bob.name, 1, 'Question?');
  await until(bobs, () => reply(bobs, alice.name)!.replyTo?.text === 'Question?');
  await bobs.edit(alice.name, 2, 'Yes', { data: null });
  await until(alices, () => reply(alices, bob.name)!.text === 'Yes');
  expect(reply(alices, bob.name)!.data).toBeUndefined();
  await alices.unsend(bob.name, 1);
  await until(bobs, () => reply(bobs, alice.name)!.replyTo?.text === '');
  expect(reply(bobs, alice.name)!.replyTo).toMatchObject({ seq: 1, deletedAt: expect.any(String) });
});

test('a message goes to whom it was written, though somebody else has their name by now', async () => {
  const [alice, bob, carol] = [person('alice'), person('bob'), person('carol')];
  const alices = await live(alice);
  await live(bob);
  alices.send(bob.name, 'Hello');
  await until(alices, () => alices.getConversation(bob.name)?.messages[0]?.state === 'delivered');

  const bobs = await live(renamed(bob, `${bob.name}_new`), { url: edges[1]! });
  const carols = await live(renamed(carol, bob.name), { url: edges[1]! });
  alices.send(bob.name, 'For you alone');
  await until(bobs, () => texts(bobs, alice.name).includes('For you alone'));
  expect(carols.getChats().items).toEqual([]);
});

test('a cleared chat is empty at once, before the server knows', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const alices = await live(alice);
  const bobs = await live(bob);
  alices.send(bob.name, 'Hello');
  await until(bobs, () => texts(bobs, alice.name).length === 1);
  expect(bobs.getConversation(alice.name)!.unread).toBe(1);

  bobs.setOnline(false);
  const cleared = bobs.clear(alice.name);
  const shown = bobs.getConversation(alice.name)!;
  expect([shown.messages, shown.unread, shown.lastMessage]).toEqual([[], 0, undefined]);
  bobs.setOnline(true);
  await cleared;
  expect(texts(bobs, alice.name)).toEqual([]);
});
