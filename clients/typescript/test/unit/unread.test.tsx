// @vitest-environment happy-dom
import { act } from 'react';
import { createRoot } from 'react-dom/client';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createChat, memoryStorage, type Chat, type ChatChanged, type Unread } from '../../src/index.js';
import { ChatProvider, useUnread } from '../../src/react.js';
import { until } from '../until.js';
import { ModelServer } from './model-server.js';

/** What a test uses in the place of a socket. */
const wire = vi.hoisted(() => ({ io: undefined as unknown }));
vi.mock('socket.io-client', () => ({ io: (_: string, options: object) => (wire.io as (options: object) => object)(options) }));

let server: ModelServer;
let chat: Chat;
let emit: (name: string, payload: unknown) => void;
let disconnected: () => void;
/** Who is signed in. */
let me: string;

beforeEach(() => {
  server = new ModelServer();
  me = 'alice-id';
  wire.io = ({ auth }: { auth: (give: () => void) => void }) => {
    const handlers = new Map<string, (reason: string) => void>();
    disconnected = () => handlers.get('disconnect')!('transport close');
    const ask = (event: string, payload: object, done: (late: null, answer: object) => void): void =>
      void server.request(event, payload).then((answer) => done(null, answer));
    return {
      io: { on: () => {} },
      on: (name: string, handler: () => void) => handlers.set(name, handler),
      onAny: (handler: typeof emit) => (emit = handler),
      connect: () => auth(() => emit('connection_success', { userId: me, username: 'alice' })),
      disconnect: () => {},
      timeout: () => ({ emit: ask }),
    };
  };
  chat = createChat({ url: '', token: async () => 'token', storage: memoryStorage() });
});
afterEach(() => chat.close());

const live = async (): Promise<void> => {
  chat.connect();
  await until(chat, () => chat.getConnection().state === 'live');
};
const say = (total: number, chats: number): void => emit('unread_changed', { total, chats });
const receive = (username: string): void => emit('new_message', server.store(username));
const become = (username: string, own: Partial<ChatChanged>): void => emit('chat_changed', { ...server.move(username, {}), ...own });

test('nothing is said before the server has said it, which older servers never do', async () => {
  server.store('bob');
  await live();
  receive('bob');
  await chat.markRead('bob');
  expect(chat.getUnread()).toBeUndefined();
});

test('what the server says is told, and is the same object as long as it says the same', async () => {
  await live();
  const told = vi.fn();
  say(7, 2);
  chat.subscribe(told);
  const before = chat.getUnread();
  expect(before).toEqual({ total: 7, chats: 2 });
  await vi.waitFor(() => expect(told).toHaveBeenCalled());
  say(7, 2);
  expect(chat.getUnread()).toBe(before);
  say(0, 0);
  expect(chat.getUnread()).toEqual({ total: 0, chats: 0 });
});

test('until the server says more, new messages are added, each once', async () => {
  server.store('bob');
  server.store('carol');
  server.chats.get('carol')!.readUpTo = 1;
  await live();
  say(1, 1);
  receive('bob');
  expect(chat.getUnread()).toEqual({ total: 2, chats: 1 });
  const message = server.store('carol');
  emit('new_message', message);
  emit('new_message', message);
  expect(chat.getUnread()).toEqual({ total: 3, chats: 2 });
  emit('message_sent', server.store('carol', { senderId: 'alice-id', recipientId: 'carol-id', recipientUsername: 'carol' }));
  expect(chat.getUnread()).toEqual({ total: 3, chats: 2 });
  say(2, 1);
  expect(chat.getUnread()).toEqual({ total: 2, chats: 1 });
});

test('what comes after a connect was missed, and the server has counted it', async () => {
  server.store('bob');
  await live();
  say(1, 1);
  receive('bob');
  expect(chat.getUnread()).toEqual({ total: 2, chats: 1 });
  disconnected();
  const missed = [server.store('bob'), server.store('bob')];
  chat.connect();
  emit('connection_success', { userId: me, username: 'alice' });
  say(4, 1);
  emit('new_message', missed[0]);
  await until(chat, () => chat.getConnection().state === 'live');
  emit('new_message', missed[1]);
  expect(chat.getConversation('bob')!.unread).toBe(4);
  expect(chat.getUnread()).toEqual({ total: 4, chats: 1 });
  receive('bob');
  expect(chat.getUnread()).toEqual({ total: 5, chats: 1 });
});

test.each<[string, Partial<ChatChanged>]>([
  ['archived', { box: 'archived' }],
  ['a request', { box: 'requests' }],
  ['declined', { box: 'declined' }],
  ['blocked', { blocked: true }],
  ['muted', { mutedUntil: '9999-01-01T00:00:00.000Z' }],
])('a chat does not count that is %s', async (_, own) => {
  server.store('bob');
  await live();
  say(5, 1);
  become('bob', own);
  receive('bob');
  expect(chat.getUnread()).toEqual({ total: 5, chats: 1 });
  await chat.markRead('bob');
  expect(chat.getUnread()).toEqual({ total: 5, chats: 1 });
});

test('a chat that was muted counts again', async () => {
  server.store('bob');
  server.chats.get('bob')!.readUpTo = 1;
  await live();
  say(0, 0);
  become('bob', { mutedUntil: '2020-01-01T00:00:00.000Z' });
  receive('bob');
  expect(chat.getUnread()).toEqual({ total: 1, chats: 1 });
});

test('messages count of which a list of chats has told first, and those that come later than newer ones', async () => {
  server.store('bob');
  server.chats.get('bob')!.readUpTo = 1;
  await live();
  say(0, 0);
  receive('carol');
  expect(chat.getUnread()).toEqual({ total: 1, chats: 1 });
  const listed = [server.store('bob'), server.store('dave')];
  await until(chat, () => chat.getConversation('bob')!.unread === 1 && chat.getConversation('dave')?.unread === 1);
  expect(chat.getUnread()).toEqual({ total: 1, chats: 1 });
  for (const message of [...listed, ...listed]) emit('new_message', message);
  expect(chat.getUnread()).toEqual({ total: 3, chats: 3 });
  const [earlier, later] = [server.store('bob'), server.store('bob')];
  for (const message of [later, earlier]) emit('new_message', message);
  expect(chat.getUnread()).toEqual({ total: 5, chats: 3 });
});

test('a message that another device has read before it comes does not count', async () => {
  server.store('bob');
  await live();
  say(1, 1);
  const [read, unread] = [server.store('bob'), server.store('bob')];
  emit('message_status', { chatId: 'chat-bob', userId: me, status: 'read', upTo: read!.seq, at: '' });
  emit('new_message', unread);
  say(1, 1);
  emit('new_message', read);
  expect(chat.getUnread()).toEqual({ total: 1, chats: 1 });
});

test('a chat that begins counts, and one of which nothing else is known does not, nor does a request', async () => {
  await live();
  say(0, 0);
  receive('bob');
  expect(chat.getUnread()).toEqual({ total: 1, chats: 1 });
  const request = server.store('mallory');
  become('mallory', { box: 'requests' });
  emit('new_message', request);
  server.store('carol');
  receive('carol');
  expect(chat.getUnread()).toEqual({ total: 1, chats: 1 });
});

test('what is read here is taken off at once, and never more than there is', async () => {
  server.store('bob');
  server.store('bob');
  await live();
  say(5, 2);
  await chat.open('bob');
  const reading = chat.markRead('bob', 1);
  expect(chat.getUnread()).toEqual({ total: 4, chats: 2 });
  await reading;
  void chat.markRead('bob');
  expect(chat.getUnread()).toEqual({ total: 3, chats: 1 });
  receive('bob');
  say(0, 0);
  void chat.markRead('bob');
  expect(chat.getUnread()).toEqual({ total: 0, chats: 0 });
});

test('somebody else who signs in has other messages', async () => {
  await live();
  say(3, 1);
  disconnected();
  me = 'dave-id';
  emit('connection_success', { userId: me, username: 'dave' });
  expect(chat.getUnread()).toBeUndefined();
});

test('a component shows it', async () => {
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true);
  const Badge = () => <b>{useUnread()?.total ?? 'unknown'}</b>;
  const page = document.createElement('main');
  const root = createRoot(page);
  await act(async () => root.render(<ChatProvider chat={chat}><Badge /></ChatProvider>));
  expect(page.textContent).toBe('unknown');
  await act(() => live());
  await act(async () => say(4, 1));
  expect(page.textContent).toBe('4');
  await act(async () => root.unmount());
  vi.unstubAllGlobals();
});

test('it cannot be changed from outside', () => {
  // @ts-expect-error: it is read-only
  const write = (unread: Unread): number => (unread.total = 1);
  expect(write).toBeTypeOf('function');
});
