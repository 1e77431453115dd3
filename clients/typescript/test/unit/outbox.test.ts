import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ChatError, memoryStorage, type ChatStorage, type Message } from '../../src/index.js';
import type { Draft } from '../../src/drafts.js';
import { Outbox } from '../../src/outbox.js';
import { webLocks } from '../locks.js';
import { message } from './messages.js';

/** A server that stores each message once, and answers as it is told. */
class Server {
  readonly sends: string[] = [];
  readonly stored = new Map<string, Message>();
  /** What happens to the next sends. */
  readonly failures: (ChatError | undefined)[] = [];

  async send({ clientId, text }: Draft): Promise<Message> {
    this.sends.push(text);
    await new Promise((resolve) => setTimeout(resolve, 1));
    const failure = this.failures.shift();
    if (failure) throw failure;
    const known = this.stored.get(clientId) ?? message(this.stored.size + 1, { clientId, text, senderId: 'alice-id' });
    this.stored.set(clientId, known);
    return known;
  }
}

interface Tab {
  outbox: Outbox;
  stored: Message[];
  isReady: boolean;
}
const tabs: Tab[] = [];

async function tab(server: Server, storage: ChatStorage, { isReady = true, userId = 'alice-id' } = {}): Promise<Tab> {
  const made: Tab = { stored: [], isReady, outbox: undefined! };
  made.outbox = new Outbox(storage, {
    isReady: () => made.isReady,
    send: (draft) => server.send(draft),
    changed: () => {},
    isHere: ({ clientId }) => made.stored.some((message) => message.clientId === clientId),
    stored: (message) => {
      made.stored.push(message);
      made.outbox.remove(message.clientId!);
    },
  });
  tabs.push(made);
  await made.outbox.identified(userId);
  return made;
}

const kept = async (storage: ChatStorage): Promise<string[]> =>
  (await storage.list('')).flatMap(([, value]) => (value as Draft).text ?? []).sort();
/** Wait as long as a busy machine may need. */
const eventually = <Result>(check: () => Result) => vi.waitFor(check, 60_000);
const empty = (...all: Tab[]) => eventually(() => expect(all.flatMap(({ outbox }) => outbox.drafts)).toEqual([]));

beforeEach(() => {
  vi.stubGlobal('navigator', { locks: webLocks() });
});
afterEach(async () => {
  for (const made of tabs) made.isReady = false;
  await Promise.all(tabs.splice(0).map(({ outbox }) => outbox.close()));
  vi.unstubAllGlobals();
});

test('messages are sent in order, and not kept once they are stored', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const { outbox, stored } = await tab(server, storage);
  for (const text of ['1', '2', '3', '4']) outbox.add('bob', text);
  expect(outbox.drafts.map(({ text }) => text)).toEqual(['1', '2', '3', '4']);
  await empty({ outbox } as Tab);
  expect(server.sends).toEqual(['1', '2', '3', '4']);
  expect(stored.map(({ text }) => text)).toEqual(['1', '2', '3', '4']);
  await outbox.close();
  expect(await kept(storage)).toEqual([]);
});

test('what a message answers and has beside its text is kept until it is sent', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const extras = { data: { image: 'a.png' }, replyTo: 3 };
  const before = await tab(server, storage, { isReady: false });
  before.outbox.add('bob', '', 'chat-bob', extras);
  await before.outbox.close();
  const sent: Draft[] = [];
  server.send = vi.fn(async (draft: Draft) => {
    sent.push(draft);
    return message(1, { clientId: draft.clientId });
  });
  await empty(await tab(server, storage));
  expect(sent).toMatchObject([{ text: '', chatId: 'chat-bob', ...extras }]);
});

test('a message that has to wait holds up only its own chat', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage);
  server.failures.push(new ChatError('busy'));
  made.outbox.add('bob', 'bob 1');
  made.outbox.add('Bob ', 'bob 2');
  made.outbox.add('carol', 'carol 1');
  await empty(made);
  expect(server.sends).toEqual(['bob 1', 'carol 1', 'bob 1', 'bob 2']);
});

test('a pause is as long as the server asks for, also with a new connection', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage);
  server.failures.push(new ChatError('rate_limited', undefined, 700));
  const start = performance.now();
  made.outbox.add('bob', '1');
  await eventually(() => expect(server.sends).toHaveLength(1));
  made.outbox.wake();
  await empty(made);
  expect(performance.now() - start).toBeGreaterThan(690);
});

test('a new connection ends a pause that the client has chosen', async () => {
  // So long a pause that it never ends by itself.
  vi.spyOn(Math, 'random').mockReturnValue(1_000);
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage);
  server.failures.push(...Array.from({ length: 3 }, () => new ChatError('timeout')));
  made.outbox.add('bob', '1');
  for (const count of [1, 2, 3]) {
    await eventually(() => expect(server.sends).toHaveLength(count));
    await new Promise((resolve) => setTimeout(resolve, 5));
    made.outbox.wake();
  }
  await empty(made);
  vi.restoreAllMocks();
});

test('a refused message fails and lets the next ones pass; it can be sent again', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage);
  server.failures.push(new ChatError('user_not_found'));
  const { clientId } = made.outbox.add('bob', '1');
  made.outbox.add('bob', '2');
  await eventually(() => expect(made.stored.map(({ text }) => text)).toEqual(['2']));
  expect(made.outbox.drafts).toMatchObject([{ clientId, isFailed: true, error: { code: 'user_not_found' } }]);

  const reloaded = await tab(server, storage);
  expect(reloaded.outbox.drafts).toMatchObject([{ clientId, isFailed: true, error: { code: 'user_not_found' } }]);
  reloaded.outbox.retry(clientId);
  await empty(made, reloaded);
  expect([...server.stored.keys()]).toContain(clientId);
});

test('messages survive a reload, and are sent once', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const before = await tab(server, storage, { isReady: false });
  before.outbox.add('bob', '1');
  before.outbox.add('bob', '2');
  await before.outbox.close();
  const after = await tab(server, storage);
  await empty(after);
  expect(server.sends).toEqual(['1', '2']);
  expect(await kept(storage)).toEqual([]);
});

test('a message whose answer was lost is stored once', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const before = await tab(server, storage);
  const answer = server.send.bind(server);
  server.send = async (draft) => {
    await answer(draft);
    before.isReady = false;
    throw new ChatError('disconnected');
  };
  const { clientId } = before.outbox.add('bob', '1');
  await eventually(() => expect(server.stored.size).toBe(1));
  await before.outbox.close();
  server.send = answer;
  const after = await tab(server, storage);
  await empty(after);
  expect([...server.stored.keys()]).toEqual([clientId]);
});

test('tabs of one browser send each message once, in order, and all of them see what waits', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const [one, other, third] = [await tab(server, storage), await tab(server, storage), await tab(server, storage)];
  for (const made of [one, other, third]) made.isReady = false;
  const texts = Array.from({ length: 30 }, (_, place) => String(place).padStart(2, '0'));
  for (const text of texts) {
    [one, other, third][Number(text) % 3]!.outbox.add('bob', text);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await eventually(() => {
    for (const made of [one, other, third]) expect(made.outbox.drafts.map(({ text }) => text)).toEqual(texts);
  });
  for (const made of [one, other, third]) made.isReady = true;
  for (const made of [one, other, third]) made.outbox.resume();
  await empty(one, other, third);
  expect(server.sends).toEqual(texts);
  await eventually(() => {
    for (const made of [one, other, third]) expect(made.stored.map(({ text }) => text).sort()).toEqual(texts);
  });
});

test('a tab with a connection sends what one without has written', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const [offline, online] = [await tab(server, storage, { isReady: false }), await tab(server, storage)];
  offline.outbox.add('bob', '1');
  await empty(offline, online);
  expect(server.sends).toEqual(['1']);
});

test('what one tab discards is gone in the others', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const [one, other] = [await tab(server, storage, { isReady: false }), await tab(server, storage, { isReady: false })];
  const { clientId } = one.outbox.add('bob', '1');
  await eventually(() => expect(other.outbox.drafts).toHaveLength(1));
  other.outbox.discard(clientId);
  await empty(one, other);
});

test('nobody sends the messages of another user of the browser', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const alice = await tab(server, storage, { isReady: false });
  alice.outbox.add('bob', 'from Alice');
  await alice.outbox.close();
  const carol = await tab(server, storage, { userId: 'carol-id' });
  expect(carol.outbox.drafts).toEqual([]);
  alice.isReady = true;
  await alice.outbox.identified('carol-id');
  expect(alice.outbox.drafts).toEqual([]);
  expect(server.sends).toEqual([]);
  await alice.outbox.identified('alice-id');
  await empty(alice);
  expect(server.sends).toEqual(['from Alice']);
});

test('messages that are written before the user is known are kept once they are', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const made: Tab = { stored: [], isReady: false, outbox: undefined! };
  made.outbox = new Outbox(storage, {
    isReady: () => made.isReady,
    send: (draft) => server.send(draft),
    changed: () => {},
    isHere: () => false,
    stored: ({ clientId }) => made.outbox.remove(clientId!),
  });
  tabs.push(made);
  made.outbox.add('bob', '1');
  expect(await kept(storage)).toEqual([]);
  await made.outbox.identified('alice-id');
  await made.outbox.close();
  expect(await kept(storage)).toEqual(['1']);
});

test('without a storage that works, messages are sent all the same', async () => {
  const broken = async (): Promise<never> => {
    throw new Error('no space');
  };
  const server = new Server();
  const made = await tab(server, { list: broken, set: broken, delete: broken });
  server.failures.push(new ChatError('unavailable'));
  made.outbox.add('bob', '1');
  await empty(made);
  expect(server.sends).toEqual(['1', '1']);
});

test('a storage that never answers holds up messages for a while only', async () => {
  vi.useFakeTimers();
  const never = (): Promise<never> => new Promise(() => {});
  const server = new Server();
  const opened = tab(server, { list: never, set: never, delete: never });
  await vi.advanceTimersByTimeAsync(10_000);
  const { outbox } = await opened;
  outbox.add('bob', '1');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(server.sends).toEqual(['1']);
  expect(outbox.drafts).toEqual([]);
  vi.useRealTimers();
});

test('a message on its way cannot be discarded', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage);
  const { clientId } = made.outbox.add('bob', '1');
  await eventually(() => expect(server.sends).toEqual(['1']));
  made.outbox.discard(clientId);
  await empty(made);
  expect(made.stored).toHaveLength(1);
});

test('a slow storage does not bring back what is done with', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage, { isReady: false });
  const { clientId } = made.outbox.add('bob', '1');
  await eventually(async () => expect(await kept(storage)).toEqual(['1']));
  const list = storage.list;
  storage.list = async (prefix) => {
    const found = await list(prefix);
    made.outbox.discard(clientId);
    return found;
  };
  await made.outbox.identified('alice-id');
  expect(made.outbox.drafts).toEqual([]);
});

test('a slow storage does not make a client forget what it has not written yet', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage, { isReady: false });
  const set = storage.set;
  let write: (() => void) | undefined;
  storage.set = (key, value) => new Promise((resolve) => (write = () => void set(key, value).then(resolve)));
  made.outbox.add('bob', '1');
  const read = made.outbox.identified('alice-id');
  await eventually(() => expect(write).toBeDefined());
  expect(made.outbox.drafts).toHaveLength(1);
  write!();
  await read;
  expect(made.outbox.drafts).toHaveLength(1);
  await eventually(async () => expect(await kept(storage)).toEqual(['1']));
  storage.set = set;
});

test.each([0, 1, 2, 3, 4, 5, 6])('a message that is added while the last one is done with is sent: %i steps later', async (steps) => {
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage);
  made.outbox.add('bob', '1');
  await eventually(() => expect(made.stored).toHaveLength(1));
  for (let step = 0; step < steps; step++) await Promise.resolve();
  made.outbox.add('bob', '2');
  await empty(made);
  expect(server.sends).toEqual(['1', '2']);
});

test('an outbox that is closed and opened in one go hears the other tabs', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const [one, other] = [await tab(server, storage, { isReady: false }), await tab(server, storage, { isReady: false })];
  const closed = one.outbox.close();
  one.outbox.listen();
  await closed;
  other.outbox.add('bob', 'hello');
  await eventually(() => expect(one.outbox.drafts.map(({ text }) => text)).toEqual(['hello']));
});

test('what a browser throws away while a tab is open is sent, and kept again until then', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const [one, other] = [await tab(server, storage, { isReady: false }), await tab(server, storage, { isReady: false })];
  one.outbox.add('bob', '1');
  await eventually(() => expect(other.outbox.drafts).toHaveLength(1));
  for (const [key] of await storage.list('')) await storage.delete(key);
  other.outbox.add('bob', '2');
  await eventually(async () => expect(await kept(storage)).toEqual(['1', '2']));
  for (const made of [one, other]) made.isReady = true;
  one.outbox.resume();
  await empty(one, other);
  expect(server.sends).toEqual(['1', '2']);
});

test('a storage that is full or cannot be read does not bring back what was discarded', async () => {
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage, { isReady: false });
  const [full, unreadable] = [made.outbox.add('bob', '1'), made.outbox.add('bob', '2')];
  await eventually(async () => expect(await kept(storage)).toEqual(['1', '2']));
  const { list, set } = storage;
  storage.set = () => Promise.reject(new Error('no space'));
  made.outbox.discard(full.clientId);
  await eventually(async () => expect(await kept(storage)).toEqual(['2']));
  storage.set = set;
  storage.list = () => Promise.reject(new Error('not now'));
  made.outbox.discard(unreadable.clientId);
  await made.outbox.identified('alice-id');
  storage.list = list;
  await made.outbox.identified('alice-id');
  expect(made.outbox.drafts).toEqual([]);
  expect(await kept(storage)).toEqual([]);
});

test('what is kept of messages that are done with goes in time', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const [server, storage] = [new Server(), memoryStorage()];
  const made = await tab(server, storage);
  made.outbox.add('bob', 'sent');
  await empty(made);
  made.isReady = false;
  made.outbox.discard(made.outbox.add('bob', 'discarded').clientId);
  await made.outbox.identified('alice-id');
  expect(await storage.list('')).toHaveLength(2);
  const later = async (ms: number): Promise<number> => {
    vi.setSystemTime(Date.now() + ms);
    await made.outbox.identified('alice-id');
    await made.outbox.close();
    return (await storage.list('')).length;
  };
  expect(await later(3_600_000)).toBe(1);
  expect(await later(24 * 3_600_000)).toBe(0);
  vi.useRealTimers();
});
