import { afterEach, beforeEach, expect, test } from 'vitest';
import { memoryStorage, type ChatStorage, type Message } from '../../src/index.js';
import { keep } from '../../src/kept.js';
import { Outbox } from '../../src/outbox.js';
import { ChatStore } from '../../src/store.js';
import { Synchronizer } from '../../src/sync.js';
import { ModelServer } from './model-server.js';

const CLIENT_ID = 'written-by-another-tab';

let server: ModelServer;
let storage: ChatStorage;
let store: ChatStore;
let sync: Synchronizer;
let outbox: Outbox;

beforeEach(() => {
  server = new ModelServer();
  storage = memoryStorage();
  store = new ChatStore({
    changed: () => {},
    stored: ({ clientId }) => clientId && outbox.remove(clientId),
    holeFound: (record) => sync.holeFound(record),
    unlistedFound: () => {},
    drafts: () => outbox.drafts,
  });
  store.me = 'alice-id';
  sync = new Synchronizer(server.connection, store);
  outbox = new Outbox(storage, {
    isReady: () => false,
    send: () => Promise.reject(new Error('Nothing is to be sent.')),
    changed: (draft) => store.touch(store.recipient(draft) ?? store.ensure(draft.to)),
    isHere: (draft) => store.has(draft),
    stored: (message) => store.takeMessage(message),
  });
});
afterEach(async () => {
  sync.stop();
  await outbox.close();
});

/** How this tab can hear of the message. */
const ways: Record<string, (message: Message) => unknown> = {
  'an event': (message) => store.takeMessage(message),
  'the list of chats': () => sync.catchUp(),
  'the page of a chat that is opened': () => sync.open('bob'),
  'what an open chat has missed': async () => {
    await sync.open('bob');
    store.takeMessage(server.store('bob'));
  },
};
const orders = ['before', 'after'] as const;

test.each(Object.keys(ways).flatMap((way) => orders.map((order) => [way, order] as const)))(
  'what another tab has written is shown once, told by %s %s it is found in the storage',
  async (way, order) => {
    const draft = { clientId: CLIENT_ID, to: 'bob', lane: 'bob', text: 'Hello', createdAt: '', order: 1, isFailed: false };
    await storage.set(`outbox/alice-id/${CLIENT_ID}`, keep(draft));
    const sent = server.store('bob', { senderId: 'alice-id', recipientId: 'bob-id', recipientUsername: 'bob', clientId: CLIENT_ID, text: 'Hello' });
    if (order === 'after') await outbox.identified('alice-id');
    await ways[way]!(sent);
    if (order === 'before') await outbox.identified('alice-id');
    const shown = () => store.conversation('bob')!.messages.filter(({ text }) => text === 'Hello');
    expect(shown()).toMatchObject([{ id: sent.id, state: 'sent' }]);
    expect(outbox.drafts).toEqual([]);
    // Nor does any tab find it again.
    await outbox.close();
    await outbox.identified('alice-id');
    expect(shown()).toHaveLength(1);
  },
);
