import { beforeEach, expect, test, vi } from 'vitest';
import type { ChatSummary, JoinAck, Peer } from '../../src/index.js';
import type { Draft } from '../../src/drafts.js';
import { ChatStore } from '../../src/store.js';
import { message, run } from './messages.js';

const bob: Peer = { userId: 'bob-id', username: 'bob', online: false, lastSeen: null, deliveredUpTo: 0, readUpTo: 0 };
const mine = (seq: number) => message(seq, { senderId: 'alice-id', senderUsername: 'alice', recipientId: 'bob-id', recipientUsername: 'bob' });
const row = (lastSeq: number, fields: Partial<ChatSummary> = {}): ChatSummary => ({
  chatId: 'chat', peer: bob, lastMessage: message(lastSeq), unread: 0, readUpTo: 0, deliveredUpTo: 0, lastSeq, ...fields,
});
const join = (fields: Partial<JoinAck> = {}): JoinAck => ({
  success: true, chatId: 'chat', peer: bob, messages: [], hasMore: false, deliveredUpTo: 0, readUpTo: 0, ...fields,
});
let store: ChatStore;

beforeEach(() => {
  store = new ChatStore({ changed() {}, stored() {}, holeFound() {}, unlistedFound() {}, drafts: () => [] });
  store.me = 'alice-id';
});

test('a snapshot is the same object until something changes, and so are its messages', () => {
  run(1, 3).forEach((each) => store.takeMessage(each));
  const [before, list] = [store.conversation('bob')!, store.list()];
  expect(store.conversation('BOB')).toBe(before);
  expect(store.list()).toBe(list);
  store.takeMessage(message(4));
  const after = store.conversation('bob')!;
  expect(after).not.toBe(before);
  expect(after.messages.slice(0, 3).every((each, place) => each === before.messages[place])).toBe(true);
  expect(before.messages).toHaveLength(3);
  store.takeMessage(message(9, { chatId: 'other', senderId: 'carol-id', senderUsername: 'carol' }));
  expect(store.list().items.find((item) => item.peer.username === 'bob')).toBe(store.list().items[1]);
  expect(store.conversation('bob')).toBe(after);
});

test('watermarks only grow, and reading includes receiving', () => {
  [1, 2, 3].forEach((seq) => store.takeMessage(mine(seq)));
  const states = () => store.conversation('bob')!.messages.map(({ state }) => state);
  const status = { chatId: 'chat', userId: 'bob-id', at: '' };
  expect(states()).toEqual(['sent', 'sent', 'sent']);
  store.takeStatus({ ...status, status: 'delivered', upTo: 2 });
  expect(states()).toEqual(['delivered', 'delivered', 'sent']);
  store.takeStatus({ ...status, status: 'read', upTo: 3 });
  store.takeStatus({ ...status, status: 'delivered', upTo: 1 });
  store.takeStatus({ ...status, status: 'read', upTo: 1 });
  store.takeJoin('bob', join({ peer: { ...bob, readUpTo: 2 } }));
  expect(states()).toEqual(['read', 'read', 'read']);
});

test('unread messages are those of the list and those that came since, each once', () => {
  store.takeRows([row(100, { unread: 40, readUpTo: 50 })]);
  expect(store.list().items[0]!.unread).toBe(40);
  store.takeMessage(message(100));
  store.takeMessage(message(102));
  store.takeMessage(message(101));
  store.takeMessage(mine(103));
  store.takeMessage(message(101));
  expect(store.list().items[0]!.unread).toBe(42);
  store.takeRows([row(100, { unread: 40, readUpTo: 50 })]);
  expect(store.list().items[0]!.unread).toBe(42);
  store.takeStatus({ chatId: 'chat', userId: 'alice-id', status: 'read', upTo: 101, at: '' });
  expect(store.list().items[0]!.unread).toBe(1);
});

test('a peer who is renamed keeps the chat, and the old name may be somebody else', () => {
  store.takeMessage(message(1));
  store.takeMessage(message(2, { senderUsername: 'robert' }));
  expect(store.conversation('robert')!.messages).toHaveLength(2);
  expect(store.conversation('robert')!.peer.username).toBe('robert');
  store.takeMessage(message(1, { id: 'x', chatId: 'other', senderId: 'new-bob-id' }));
  expect(store.conversation('bob')!.messages).toHaveLength(1);
  expect(store.list().items).toHaveLength(2);
});

test('chats with several deleted users are told apart by their ids', () => {
  store.takeMessage(message(1, { chatId: 'one', senderId: 'x', senderUsername: 'Deleted user' }));
  store.takeMessage(message(1, { chatId: 'two', senderId: 'y', senderUsername: 'Deleted user', text: 'second' }));
  expect(store.conversation('one')!.messages[0]!.text).toBe('text 1');
  expect(store.conversation('two')!.messages[0]!.text).toBe('second');
  expect(store.list().items).toHaveLength(2);
});

test('somebody else cannot take the key of an own message', () => {
  store.takeMessage({ ...mine(1), clientId: 'same' });
  store.takeMessage(message(2, { clientId: 'same' }));
  expect(store.conversation('bob')!.messages.map(({ key }) => key)).toEqual(['same', 'id-2']);
});

test('a peer stops typing by itself, and by a message', () => {
  vi.useFakeTimers();
  store.takeMessage(message(1));
  const typing = { chatId: 'chat', userId: 'bob-id', username: 'bob', isTyping: true };
  store.takeTyping(typing);
  vi.advanceTimersByTime(4_000);
  store.takeTyping(typing);
  vi.advanceTimersByTime(4_000);
  expect(store.conversation('bob')!.typing).toBe(true);
  vi.advanceTimersByTime(4_000);
  expect(store.conversation('bob')!.typing).toBe(false);
  store.takeTyping(typing);
  store.takeMessage(message(2));
  expect(store.conversation('bob')!.typing).toBe(false);
  vi.useRealTimers();
});

test('presence shows in the chat', () => {
  store.takeMessage(message(1));
  store.takePresence({ userId: 'bob-id', username: 'bob', status: 'online', lastSeen: 'now' });
  expect(store.conversation('bob')!.peer).toMatchObject({ online: true, lastSeen: 'now' });
});

test('what is about unknown chats is ignored', () => {
  store.takeStatus({ chatId: 'unknown', userId: 'x', status: 'read', upTo: 1, at: '' });
  store.takeTyping({ chatId: 'unknown', userId: 'x', username: 'x', isTyping: true });
  store.takePresence({ userId: 'x', username: 'x', status: 'online', lastSeen: null });
  store.forget('unknown');
  expect(store.list().items).toEqual([]);
});

test('a draft belongs to the chat it was written in, whoever has the name of its peer by now', () => {
  const draft: Draft = {
    clientId: 'd', to: 'bob', lane: 'bob', chatId: 'chat', text: 'private', createdAt: '', order: 1, isFailed: false,
  };
  store = new ChatStore({ changed() {}, stored() {}, holeFound() {}, unlistedFound() {}, drafts: () => [draft] });
  store.me = 'alice-id';
  store.takeMessage(message(1));
  store.takeMessage(message(2, { senderUsername: 'robert' }));
  store.takeMessage(message(1, { id: 'x', chatId: 'other', senderId: 'new-bob-id' }));
  expect(store.recipient(draft)!.peer.username).toBe('robert');
  expect(store.conversation('robert')!.messages.at(-1)!.text).toBe('private');
  expect(store.conversation('bob')!.messages.map(({ id }) => id)).toEqual(['x']);
});
