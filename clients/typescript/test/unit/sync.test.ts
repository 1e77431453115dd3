import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ChatError, type ErrorCode, type Message } from '../../src/index.js';
import { retryable } from '../../src/contract.js';
import { ChatStore } from '../../src/store.js';
import { Synchronizer } from '../../src/sync.js';
import { ModelServer } from './model-server.js';

let server: ModelServer;
let store: ChatStore;
let sync: Synchronizer;
let stored: Message[];

beforeEach(() => {
  vi.useFakeTimers();
  server = new ModelServer();
  stored = [];
  store = new ChatStore({
    changed: () => {},
    stored: (message) => stored.push(message),
    holeFound: (record) => sync.holeFound(record),
    unlistedFound: () => sync.listSoon(),
    drafts: () => [],
  });
  store.me = 'alice-id';
  sync = new Synchronizer(server.connection, store);
});
afterEach(() => {
  sync.stop();
  vi.useRealTimers();
});

const seqs = (username: string): number[] => store.conversation(username)!.messages.map(({ seq }) => seq!);
const upTo = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, place) => first + place);
const asked = (event: string): any[] => server.requests.filter(([name]) => name === event).map(([, payload]) => payload);
const storeMany = (username: string, count: number): void => {
  for (let number = 0; number < count; number++) server.store(username);
};

test('a hole is asked for when it has not closed after a while, and not before', async () => {
  storeMany('bob', 2);
  await sync.catchUp();
  await sync.open('bob');
  const [third, fourth] = [server.store('bob'), server.store('bob')];
  store.takeMessage(fourth);
  expect(store.conversation('bob')).toMatchObject({ hole: true, lastSeq: 4 });
  expect(seqs('bob')).toEqual([1, 2, 4]);
  await vi.advanceTimersByTimeAsync(900);
  expect(asked('get_messages')).toEqual([]);
  store.takeMessage(third);
  expect(store.conversation('bob')!.hole).toBe(false);

  server.store('bob');
  store.takeMessage(server.store('bob'));
  await vi.advanceTimersByTimeAsync(2_000);
  expect(asked('get_messages')).toEqual([{ chatId: 'chat-bob', after: 4, limit: 100 }]);
  expect(seqs('bob')).toEqual(upTo(1, 6));
});

test('a hole that cannot be filled now is asked for again', async () => {
  storeMany('bob', 1);
  await sync.catchUp();
  await sync.open('bob');
  server.store('bob');
  store.takeMessage(server.store('bob'));
  server.failures.push(new ChatError('timeout'));
  await vi.advanceTimersByTimeAsync(2_000);
  expect(seqs('bob')).toEqual([1, 3]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(seqs('bob')).toEqual([1, 2, 3]);
});

test('what was missed in open chats is asked for until no chat has more', async () => {
  for (const name of ['bob', 'carol', 'dave']) storeMany(name, 1);
  await sync.catchUp();
  for (const name of ['bob', 'carol', 'dave']) await sync.open(name);
  storeMany('bob', 450);
  storeMany('carol', 300);
  storeMany('dave', 5);
  server.requests.length = 0;
  await sync.catchUp();
  expect(seqs('bob')).toEqual(upTo(1, 451));
  expect(seqs('carol')).toEqual(upTo(1, 301));
  expect(seqs('dave')).toEqual(upTo(1, 6));
  expect(asked('sync').length).toBeGreaterThan(3);
  expect(asked('sync').every(({ only }) => only)).toBe(true);
});

test('an open chat that is very far behind begins anew, and its history can be loaded', async () => {
  storeMany('bob', 3);
  await sync.catchUp();
  const record = await sync.open('bob');
  storeMany('bob', 2_000);
  await sync.catchUp();
  expect(seqs('bob')).toEqual(upTo(1_954, 2_003));
  expect(store.conversation('bob')).toMatchObject({ hasOlder: true, hole: false });
  while (store.conversation('bob')!.hasOlder) await sync.loadOlder(record);
  expect(seqs('bob')).toEqual(upTo(1, 2_003));
});

test('with many chats, a reconnect costs what has changed', async () => {
  for (let number = 0; number < 3_000; number++) server.store(`friend${number}`);
  await sync.catchUp();
  expect(store.list().items).toHaveLength(50);
  while (store.list().hasMore) await sync.loadMoreChats();
  expect(store.list().items).toHaveLength(3_000);
  expect(store.list().items.map((item) => item.peer.username)).toEqual(
    Array.from({ length: 3_000 }, (_, place) => `friend${2_999 - place}`),
  );

  for (let number = 0; number < 250; number++) server.store(`friend${number}`);
  server.requests.length = 0;
  await sync.catchUp();
  const since = asked('list_chats')[0].since;
  const changed = { since, limit: 100, cursor: expect.anything() };
  expect(server.requests.map(([, payload]) => payload)).toEqual([
    { since, limit: 100, cursor: null },
    changed,
    changed,
    { since, limit: 100, cursor: null, box: 'requests' },
    { since, limit: 100, cursor: null, box: 'declined' },
    { limit: 50, box: 'inbox' },
  ]);
  expect(asked('list_chats')).toHaveLength(6);
  expect(store.list().items[0]).toMatchObject({ peer: { username: 'friend249' }, unread: 2, lastSeq: 2 });
  expect(store.list().items[249]).toMatchObject({ peer: { username: 'friend0' }, unread: 2 });
  expect(store.list().items[250]!.peer.username).toBe('friend2999');
});

test('more open chats than fit into a request are synced in several', async () => {
  for (let number = 0; number < 1_100; number++) server.store(`friend${number}`);
  await sync.catchUp();
  for (let number = 0; number < 1_100; number++) await sync.open(`friend${number}`);
  for (let number = 0; number < 1_100; number++) server.store(`friend${number}`);
  await sync.catchUp();
  expect(Math.max(...asked('sync').map(({ cursors }) => Object.keys(cursors).length))).toBe(500);
  for (let number = 0; number < 1_100; number++) expect(seqs(`friend${number}`)).toEqual([1, 2]);
});

test('a known chat can be opened by its id', async () => {
  storeMany('bob', 60);
  await sync.catchUp();
  await sync.open('chat-bob');
  expect(seqs('chat-bob')).toEqual(upTo(11, 60));
  expect(asked('join_chat')).toEqual([]);
});

test.each([0, 1, 2, 3, 4, 5, 6])('who reads on while a report ends is reported as well: %i steps later', async (steps) => {
  storeMany('bob', 3);
  await sync.catchUp();
  const record = await sync.open('bob');
  const touch = store.touch.bind(store);
  store.touch = (touched) => {
    touch(touched);
    if (touched?.reportedUpTo !== 1) return;
    let later = Promise.resolve();
    for (let step = 0; step < steps; step++) later = later.then(() => {});
    void later.then(() => sync.markRead(record, 2));
  };
  await sync.markRead(record, 1);
  await vi.runAllTimersAsync();
  expect(server.chats.get('bob')!.readUpTo).toBe(2);
});

test('a chat that is gone is forgotten', async () => {
  storeMany('bob', 1);
  storeMany('carol', 1);
  await sync.catchUp();
  await sync.open('bob');
  server.chats.delete('bob');
  await sync.catchUp();
  expect(store.conversation('bob')).toBeUndefined();
  expect(store.list().items.map((item) => item.peer.username)).toEqual(['carol']);
});

test.each([5, 120])('chats that the list does not name any more are gone at the next connect, of %i', async (count) => {
  for (let number = 0; number < count; number++) server.store(`friend${number}`);
  await sync.catchUp();
  while (store.list().hasMore) await sync.loadMoreChats();
  const last = `friend${count - 2}`;
  server.chats.delete(last);
  server.requests.length = 0;
  await sync.catchUp();
  expect(store.conversation(last)).toBeUndefined();
  expect(store.list().items).toHaveLength(count - 1);
  expect(asked('sync')).toEqual([{ only: true, cursors: { [`chat-${last}`]: 1 } }]);
});

test('a chat that was deleted and begun anew while offline is there once, and stays open', async () => {
  storeMany('bob', 30);
  storeMany('carol', 1);
  await sync.catchUp();
  const record = await sync.open('bob');
  await sync.markRead(record, 30);
  server.beginAnew('bob');
  storeMany('bob', 2);
  await sync.catchUp();
  expect(store.list().items.map((item) => item.peer.username)).toEqual(['bob', 'carol']);
  expect(store.conversation('bob')).toMatchObject({ chatId: 'chat-bob-1', unread: 3, readUpTo: 0, lastSeq: 3 });
  storeMany('bob', 3);
  await sync.catchUp();
  expect(seqs('bob').at(-1)).toBe(6);
  while (store.conversation('bob')!.hasOlder) await sync.loadOlder(store.byName('bob')!);
  expect(seqs('bob')).toEqual(upTo(1, 6));
});

test.each([
  ['opened by its id', () => sync.open('chat-bob')],
  ['asked for history', () => sync.loadOlder(store.byName('bob')!)],
  ['read', () => sync.markRead(store.byName('bob')!, 60)],
  ['asked for a hole', async () => {
    store.takeMessage({ ...server.store('carol'), chatId: 'chat-bob', senderId: 'bob-id', senderUsername: 'bob', seq: 99 });
    await vi.advanceTimersByTimeAsync(2_000);
    throw new ChatError('chat_not_found');
  }],
])('a chat that is found to be gone when it is %s is forgotten', async (_, ask) => {
  storeMany('bob', 60);
  storeMany('carol', 1);
  await sync.catchUp();
  await sync.open('bob');
  server.chats.delete('bob');
  await expect(ask()).rejects.toMatchObject({ code: 'chat_not_found' });
  expect(store.conversation('bob')).toBeUndefined();
  expect(store.list().items.map((item) => item.peer.username)).toEqual(['carol']);
});

test('a chat that is gone while it is far behind does not keep the others from catching up', async () => {
  storeMany('bob', 1);
  storeMany('carol', 1);
  await sync.catchUp();
  for (const name of ['bob', 'carol']) await sync.open(name);
  storeMany('bob', 600);
  storeMany('carol', 5);
  const list = server.list_chats.bind(server);
  server.list_chats = (payload) => {
    const answer = list(payload);
    server.chats.delete('bob');
    return answer;
  };
  await sync.catchUp();
  expect(server.snapshot).toEqual({ state: 'live' });
  expect(store.conversation('bob')).toBeUndefined();
  expect(seqs('carol')).toEqual(upTo(1, 6));
});

const codes = Object.entries(retryable) as [ErrorCode, boolean][];
test.each(codes)('%s while catching up', async (code, isRetryable) => {
  vi.spyOn(Math, 'random').mockReturnValue(0);
  storeMany('bob', 1);
  server.failures.push(...Array.from({ length: 4 }, () => new ChatError(code)));
  const done = sync.catchUp();
  await vi.advanceTimersByTimeAsync(10_000);
  // What may succeed later is tried again soon; what is final, slowly, and the app hears why.
  expect(server.requests.length).toBe(isRetryable ? 6 : 1);
  expect(server.snapshot.state).toBe(isRetryable ? 'live' : 'syncing');
  expect(server.snapshot.error?.code).toBe(isRetryable ? undefined : code);
  await vi.advanceTimersByTimeAsync(60_000);
  await done;
  expect(server.snapshot).toEqual({ state: 'live' });
  vi.restoreAllMocks();
});

test.each(['disconnected', 'closed'] as const)('%s while catching up leaves it to the next connection', async (code) => {
  server.failures.push(new ChatError(code));
  await sync.catchUp();
  expect(server.requests).toHaveLength(1);
  expect(server.snapshot).toEqual({ state: 'syncing' });
});

test('messages that are not stored any more are not asked for for ever', async () => {
  storeMany('bob', 3);
  await sync.catchUp();
  await sync.open('bob');
  storeMany('bob', 30);
  const chat = server.chats.get('bob')!;
  chat.messages = chat.messages.filter(({ seq }) => seq < 10 || (seq > 20 && seq < 30));
  await sync.catchUp();
  expect(seqs('bob')).toEqual([...upTo(1, 9), ...upTo(21, 29)]);
  expect(store.conversation('bob')).toMatchObject({ hole: false, lastSeq: 33 });
});

test('a failure while catching up is tried again, and only then the client is live', async () => {
  storeMany('bob', 1);
  server.failures.push(new ChatError('unavailable'), new ChatError('busy'));
  const done = sync.catchUp();
  await vi.advanceTimersByTimeAsync(400);
  expect(server.snapshot.state).toBe('syncing');
  await vi.advanceTimersByTimeAsync(5_000);
  await done;
  expect(server.snapshot.state).toBe('live');
  expect(store.list().items).toHaveLength(1);
});

test('a chat that somebody else begins is listed with what the server knows of it', async () => {
  storeMany('bob', 5);
  storeMany('carol', 1);
  server.chats.get('bob')!.activity = -1_000;
  for (let number = 0; number < 60; number++) server.store(`friend${number}`);
  await sync.catchUp();
  expect(store.conversation('bob')).toBeUndefined();
  store.takeMessage(server.store('bob'));
  expect(store.list().items[0]).toMatchObject({ peer: { username: 'bob' }, unread: 1 });
  await vi.advanceTimersByTimeAsync(500);
  expect(store.list().items[0]).toMatchObject({ peer: { username: 'bob' }, unread: 6, lastSeq: 6 });
});

test('what was read while offline is told to the server once there is a connection', async () => {
  storeMany('bob', 3);
  await sync.catchUp();
  const record = await sync.open('bob');
  server.ready = false;
  await sync.markRead(record, 2);
  expect(store.conversation('bob')).toMatchObject({ unread: 1, readUpTo: 2 });
  expect(asked('mark_as_read')).toEqual([]);
  server.ready = true;
  await sync.catchUp();
  await vi.runAllTimersAsync();
  expect(server.chats.get('bob')!.readUpTo).toBe(2);
});

test('reading goes up only, and never beyond the chat', async () => {
  storeMany('bob', 3);
  await sync.catchUp();
  const record = await sync.open('bob');
  await sync.markRead(record, 99);
  expect(record.readUpTo).toBe(3);
  await sync.markRead(record, 1);
  expect(store.conversation('bob')!.readUpTo).toBe(3);
  expect(asked('mark_as_read')).toEqual([{ chatId: 'chat-bob', upTo: 3 }]);
});

test('own messages in a page are stored ones', async () => {
  storeMany('bob', 1);
  server.store('bob', { senderId: 'alice-id', clientId: 'mine' });
  store = new ChatStore({ ...(store as any).listener, drafts: () => [{ clientId: 'mine', lane: 'bob', to: 'bob' }] as any });
  store.me = 'alice-id';
  sync = new Synchronizer(server.connection, store);
  await sync.open('bob');
  expect(stored.map(({ clientId }) => clientId)).toContain('mine');
});

const texts = (username: string): string[] => store.conversation(username)!.messages.map(({ text }) => text);

test('what has changed while the client was away is here after the next connect, however much it is', async () => {
  storeMany('bob', 5);
  await sync.catchUp();
  await sync.open('bob');
  for (const seq of [1, 2, 3, 4, 5]) server.change('bob', seq, { text: `edited ${seq}` });
  await sync.catchUp();
  expect(texts('bob')).toEqual([1, 2, 3, 4, 5].map((seq) => `edited ${seq}`));
  expect(asked('sync').at(-1).cursors['chat-bob']).toEqual({ seq: 5, change: 4, clearedUpTo: 0 });
});

test('a server that counts no changes is asked for messages only', async () => {
  server.countsChanges = false;
  storeMany('bob', 2);
  await sync.catchUp();
  await sync.open('bob');
  server.store('bob');
  await sync.catchUp();
  expect(asked('sync').at(-1).cursors).toEqual({ 'chat-bob': 2 });
});

test('where servers of two versions answer, messages come from either, and changes from the one that counts them', async () => {
  storeMany('bob', 2);
  await sync.catchUp();
  await sync.open('bob');
  server.countsChanges = false;
  server.change('bob', 1, { text: 'edited' });
  server.store('bob');
  await sync.catchUp();
  expect(server.snapshot).toEqual({ state: 'live' });
  expect(texts('bob')).toEqual(['text 1', 'text 2', 'text 3']);
  server.countsChanges = true;
  await sync.catchUp();
  expect(texts('bob')).toEqual(['edited', 'text 2', 'text 3']);
});

test('a change that was missed is asked for when the next one comes, and only then', async () => {
  storeMany('bob', 3);
  await sync.catchUp();
  await sync.open('bob');
  const before = asked('sync').length;
  store.takeChange(server.change('bob', 1, { text: 'heard' }));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(asked('sync')).toHaveLength(before);
  server.change('bob', 2, { text: 'missed' });
  store.takeChange(server.change('bob', 3, { text: 'heard too' }));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(texts('bob')).toEqual(['heard', 'missed', 'heard too']);
  expect(asked('sync').at(-1).cursors['chat-bob']).toMatchObject({ change: 1 });
});

test('a chat that was cleared on another device is cleared here, now or after the next connect', async () => {
  storeMany('bob', 3);
  await sync.catchUp();
  await sync.open('bob');
  store.takeChat({ ...server.move('bob', {}), clearedUpTo: 1 });
  expect(seqs('bob')).toEqual([2, 3]);
  server.clear_chat({ chatId: 'chat-bob', upTo: 2 });
  await sync.catchUp();
  expect(seqs('bob')).toEqual([3]);
  expect(store.conversation('bob')!.unread).toBe(1);
});
