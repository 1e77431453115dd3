import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ChatError, type Box, type Message } from '../../src/index.js';
import { ChatStore } from '../../src/store.js';
import { Synchronizer } from '../../src/sync.js';
import { ModelServer } from './model-server.js';

let server: ModelServer;
let store: ChatStore;
let sync: Synchronizer;

beforeEach(() => {
  vi.useFakeTimers();
  server = new ModelServer();
  store = new ChatStore({
    changed: () => {},
    stored: () => {},
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

const names = (box?: Box): string[] => store.list(box).items.map(({ peer }) => peer.username);
const storeFrom = (prefix: string, count: number, box: Box = 'inbox'): void => {
  for (let number = 0; number < count; number++) {
    server.store(`${prefix}${number}`);
    server.move(`${prefix}${number}`, { box });
  }
};
const request = (username: string): Message => {
  const message = server.store(username);
  store.takeChat(server.move(username, { box: 'requests' }));
  return message;
};

test('at the first connect inbox and requests are here, and the archive is a page away', async () => {
  storeFrom('friend', 2);
  storeFrom('stranger', 1, 'requests');
  storeFrom('former', 60, 'archived');
  storeFrom('unwanted', 1, 'declined');
  await sync.catchUp();
  expect(names()).toEqual(['friend1', 'friend0']);
  expect(names('requests')).toEqual(['stranger0']);
  expect(store.list('requests')).toMatchObject({ hasMore: false, items: [{ box: 'requests' }] });
  expect(store.list('archived')).toMatchObject({ hasMore: true, items: [] });
  await sync.loadMoreChats('archived');
  expect(store.list('archived').items).toHaveLength(50);
  await sync.loadMoreChats('archived');
  expect(store.list('archived')).toMatchObject({ hasMore: false, items: { length: 60 } });
  expect(names()).toHaveLength(2);
  await sync.loadMoreChats('declined');
  expect(names('declined')).toEqual(['unwanted0']);
});

test('pinned chats come first, however old they are, and the pages of the others stay in order', async () => {
  storeFrom('friend', 120);
  server.move('friend3', { pinned: true });
  server.move('friend7', { pinned: true });
  await sync.catchUp();
  expect(names().slice(0, 4)).toEqual(['friend7', 'friend3', 'friend119', 'friend118']);
  while (store.list().hasMore) await sync.loadMoreChats();
  expect(names()).toHaveLength(120);
  expect(names().slice(-3)).toEqual(['friend2', 'friend1', 'friend0']);
});

test('what other devices did to chats while the client was away is here after the next connect', async () => {
  storeFrom('friend', 3);
  storeFrom('stranger', 3, 'requests');
  await sync.catchUp();
  server.move('friend0', { box: 'archived' });
  server.move('friend1', { pinned: true });
  server.move('stranger0', { box: 'inbox' });
  server.move('stranger1', { box: 'declined' });
  storeFrom('new', 1, 'requests');
  await sync.catchUp();
  expect(names()).toEqual(['friend1', 'stranger0', 'friend2']);
  expect(names('archived')).toEqual(['friend0']);
  expect(names('requests')).toEqual(['new0', 'stranger2']);
  expect(names('declined')).toEqual(['stranger1']);
});

test('a first listing that fails half way is not taken for a whole one', async () => {
  storeFrom('stranger', 1, 'requests');
  const list = server.list_chats.bind(server);
  server.list_chats = (payload) => {
    server.list_chats = list;
    server.failures.push(new ChatError('unavailable'));
    return list(payload);
  };
  const done = sync.catchUp();
  await vi.runAllTimersAsync();
  await done;
  expect(names('requests')).toEqual(['stranger0']);
});

test('a message request is none of the inbox, from the first moment', async () => {
  await sync.catchUp();
  store.takeMessage(request('mallory'));
  expect(names()).toEqual([]);
  expect(store.list('requests').items).toMatchObject([{ unread: 1, box: 'requests', lastMessage: { text: 'text 1' } }]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(names()).toEqual([]);
  expect(names('requests')).toEqual(['mallory']);
});

test('a chat that another device has pinned is listed, although it was on no page that is here', async () => {
  storeFrom('friend', 80);
  await sync.catchUp();
  expect(names()).not.toContain('friend0');
  store.takeChat(server.move('friend0', { pinned: true }));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(store.list().items[0]).toMatchObject({ peer: { username: 'friend0' }, pinned: true });
});

test('chats that are gone leave every list at the next connect, and pinned ones, too', async () => {
  storeFrom('friend', 60);
  storeFrom('stranger', 2, 'requests');
  for (const name of ['friend1', 'friend2']) server.move(name, { pinned: true });
  await sync.catchUp();
  while (store.list().hasMore) await sync.loadMoreChats();
  for (const name of ['friend1', 'friend40', 'stranger0']) server.chats.delete(name);
  await sync.catchUp();
  expect(names()).toHaveLength(58);
  expect(names()[0]).toBe('friend2');
  expect(names('requests')).toEqual(['stranger1']);
});

test('news of a chat reach its snapshot, and leave those of others alone', async () => {
  storeFrom('friend', 2);
  await sync.catchUp();
  const other = store.list().items[1];
  store.takeChat({ ...server.move('friend1', {}), mutedUntil: '2030-01-01T00:00:00.000Z', blocked: true });
  expect(store.conversation('friend1')).toMatchObject({ mutedUntil: '2030-01-01T00:00:00.000Z', blocked: true, pinned: false });
  expect(store.list().items[0]).toMatchObject({ blocked: true });
  expect(store.list().items[1]).toBe(other);
  store.takeChat(server.move('friend1', {}));
  expect(store.conversation('friend1')).toMatchObject({ mutedUntil: undefined, blocked: false });
});
