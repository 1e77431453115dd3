import { beforeEach, expect, test, vi } from 'vitest';
import type { ChatSummary, JoinAck, Peer } from '../../src/index.js';
import type { Draft } from '../../src/drafts.js';
import { ChatStore } from '../../src/store.js';
import { message, run } from './messages.js';

const bob: Peer = { userId: 'bob-id', username: 'bob', online: false, lastSeen: null, deliveredUpTo: 0, readUpTo: 0 };
const mine = (seq: number) => message(seq, { senderId: 'alice-id', senderUsername: 'alice', recipientId: 'bob-id', recipientUsername: 'bob' });
const row = (lastSeq: number, fields: Partial<ChatSummary> = {}): ChatSummary => ({
  chatId: 'chat', peer: bob, lastMessage: message(lastSeq), unread: 0, readUpTo: 0, deliveredUpTo: 0, lastSeq, change: 0, ...fields,
});
const join = (fields: Partial<JoinAck> = {}): JoinAck => ({
  success: true, chatId: 'chat', peer: bob, messages: [], hasMore: false, deliveredUpTo: 0, readUpTo: 0, change: 0, ...fields,
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

test('the list of messages is the same as long as no message changes', () => {
  [1, 2, 3].forEach((seq) => store.takeMessage(mine(seq)));
  const { messages } = store.conversation('bob')!;
  store.takeTyping({ chatId: 'chat', userId: 'bob-id', username: 'bob', isTyping: true });
  store.takePresence({ userId: 'bob-id', username: 'bob', status: 'online', lastSeen: null });
  store.takeStatus({ chatId: 'chat', userId: 'bob-id', at: '', status: 'delivered', upTo: 0 });
  expect(store.conversation('bob')!.typing).toBe(true);
  expect(store.conversation('bob')!.messages).toBe(messages);
  store.takeStatus({ chatId: 'chat', userId: 'bob-id', at: '', status: 'read', upTo: 1 });
  expect(store.conversation('bob')!.messages).not.toBe(messages);
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

const draftOf = (fields: Partial<Draft>): Draft => ({
  clientId: 'd', to: 'bob', lane: 'bob', text: 'unsent', createdAt: '', order: 1, isFailed: false, ...fields,
});
const storeWith = (drafts: Draft[]): ChatStore => {
  const made = new ChatStore({ changed() {}, stored() {}, holeFound() {}, unlistedFound() {}, drafts: () => drafts });
  made.me = 'alice-id';
  return made;
};

const anew = { chatId: 'new', peer: bob };
test.each([
  ['a message', () => store.takeMessage(message(1, { chatId: 'new', text: 'again' }))],
  ['a row of the list', () => store.takeRows([row(1, { ...anew, lastMessage: message(1, { chatId: 'new', text: 'again' }) })])],
  ['the answer to join_chat', () => store.takeJoin('bob', join(anew)) && store.takeMessage(message(1, { chatId: 'new', text: 'again' }))],
])('a chat that is begun anew with the same peer takes the place of the one that is gone: by %s', (_, begin) => {
  store = storeWith([draftOf({ chatId: 'chat' })]);
  store.takeRows([row(9, { readUpTo: 9, peer: { ...bob, username: 'robert', readUpTo: 9 } })]);
  store.byId('chat')!.isOpen = true;
  begin();
  expect(store.list().items).toHaveLength(1);
  expect(store.conversation('bob')).toMatchObject({ chatId: 'new', lastSeq: 1, readUpTo: 0, peer: { readUpTo: 0 } });
  // What was written in the old one goes on; the app still shows the chat.
  expect(store.conversation('robert')!.messages.map(({ text }) => text)).toEqual(['again', 'unsent']);
  expect(store.open).toHaveLength(1);
  expect(store.conversation('chat')).toBeUndefined();
  // Late news of the old one.
  store.takeMessage(message(10));
  store.takeStatus({ chatId: 'chat', userId: 'bob-id', status: 'read', upTo: 9, at: '' });
  store.forget('chat');
  expect(store.conversation('bob')).toMatchObject({ chatId: 'new', lastSeq: 1, peer: { readUpTo: 0 } });
});

test('a chat that is gone is not listed, but what was written to its peer is', () => {
  const drafts = [draftOf({ chatId: 'chat' })];
  store = storeWith(drafts);
  run(1, 3).forEach((each) => store.takeMessage(each));
  store.forget('chat');
  expect(store.conversation('bob')!.messages.map(({ text }) => text)).toEqual(['unsent']);
  expect(store.recipient(drafts[0]!)!.peer.userId).toBe('bob-id');
  drafts.pop();
  store.touch(store.byName('bob'));
  expect(store.conversation('bob')).toBeUndefined();
  expect(store.list().items).toEqual([]);
});

test('somebody who takes the name of the peer of a chat that is gone does not get what was written in it', () => {
  const draft = draftOf({ chatId: 'chat', text: 'private' });
  store = storeWith([draft]);
  store.takeMessage(message(1));
  store.forget('chat');
  store.takeMessage(message(1, { id: 'x', chatId: 'other', senderId: 'new-bob-id' }));
  expect(store.recipient(draft)!.peer.userId).toBe('bob-id');
  expect(store.conversation('bob')!.messages.map(({ id }) => id)).toEqual(['x']);
});

test.each([-86_400_000, 0, 86_400_000])('the clock of the client does not decide where a chat is listed: %i ms ahead', (ahead) => {
  vi.useFakeTimers({ now: Date.UTC(2026, 0, 1) + ahead });
  const drafts: Draft[] = [];
  store = storeWith(drafts);
  const names = () => store.list().items.map(({ peer }) => peer.username);
  const carol = { chatId: 'carols', peer: { ...bob, userId: 'carol-id', username: 'carol' } };
  const dave = { chatId: 'daves', peer: { ...bob, userId: 'dave-id', username: 'dave' } };
  store.takeRows([row(0, { ...dave, lastMessage: null }), row(50), row(40, { ...carol, lastMessage: message(40, { chatId: 'carols' }) })]);
  expect(names()).toEqual(['dave', 'bob', 'carol']);
  drafts.push(draftOf({ to: 'carol', lane: 'carol', order: Date.now() }));
  store.touch(store.byName('carol'));
  expect(names()).toEqual(['carol', 'dave', 'bob']);
  drafts.pop();
  store.takeMessage({ ...mine(41), chatId: 'carols', createdAt: message(60).createdAt, recipientId: 'carol-id', recipientUsername: 'carol' });
  expect(names()).toEqual(['carol', 'dave', 'bob']);
  store.takeMessage(message(70));
  expect(names()).toEqual(['bob', 'carol', 'dave']);
  vi.useRealTimers();
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

test('what the app says is of neither user, and unread for the one to whom it goes', () => {
  store.takeMessage({ ...mine(1), kind: 'system', clientId: 'api-1' });
  store.takeMessage(message(2, { kind: 'system' }));
  const { messages, unread } = store.conversation('bob')!;
  expect(messages.map(({ key, kind, mine }) => [key, kind, mine])).toEqual([['id-1', 'system', false], ['id-2', 'system', false]]);
  expect(unread).toBe(1);
});
