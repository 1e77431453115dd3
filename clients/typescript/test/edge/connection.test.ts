import { createHash, randomUUID } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { memoryStorage, type ConnectionState, type WireEvent } from '../../src/index.js';
import { until } from '../until.js';
import { clientOf, edges, live, person, texts } from './people.js';

test.each([['websocket'], ['polling'], [undefined]])('a client connects and is live: %s', async (transport) => {
  const alice = person('alice');
  const chat = clientOf(alice, { socket: transport ? { transports: [transport] } : {} });
  const states: ConnectionState[] = [];
  chat.subscribe(() => {
    const { state } = chat.getConnection();
    if (states.at(-1) !== state) states.push(state);
  });
  chat.connect();
  await until(chat, () => chat.getConnection().state === 'live');
  expect(states).toEqual(['connecting', 'syncing', 'live']);
  expect(chat.getConnection()).toMatchObject({ userId: alice.id, username: alice.name, error: undefined });
});

test('after a lost connection a client comes back with the newest token', async () => {
  const alice = person('alice');
  const token = vi.fn(async () => alice.token());
  const chat = await live(alice, { token });
  expect(token).toHaveBeenCalledTimes(1);
  chat.dropConnection();
  await until(chat, () => chat.getConnection().state === 'offline');
  expect(chat.getConnection().error).toMatchObject({ code: 'disconnected', retryable: true });
  await until(chat, () => chat.getConnection().state === 'live');
  expect(token).toHaveBeenCalledTimes(2);
});

test('a token that is about to expire is replaced, and the connection stays', async () => {
  const alice = person('alice');
  // On a busy machine, a token may end before this process has replaced it; then the next one lives longer.
  for (const life of [6, 18, 54]) {
    const tokens = [alice.token(life)];
    const chat = clientOf(alice, { token: async () => tokens.shift() ?? alice.token() });
    const names: string[] = [];
    let wasExpired = false;
    chat.onEvent(({ name, ack }) => names.push(ack ? `${name} answered` : name));
    chat.subscribe(() => {
      wasExpired ||= chat.getConnection().error?.code === 'token_expired';
    });
    chat.connect();
    await vi.waitFor(() => expect(wasExpired || names.includes('refresh_token answered')).toBe(true), 60_000);
    if (wasExpired) continue;
    expect(chat.getConnection()).toMatchObject({ state: 'live' });
    expect(names.filter((name) => name === 'connection_success')).toHaveLength(1);
    return;
  }
  expect.fail('no token was replaced in time');
});

test('a client whose token expires comes back once it gets a new one', async () => {
  const alice = person('alice');
  let token = alice.token(20);
  const chat = await live(alice, { token: async () => token });
  // The server closes the connection: `io server disconnect`.
  await until(chat, () => chat.getConnection().error?.code === 'token_expired');
  expect(chat.getConnection().state).toBe('offline');
  token = alice.token();
  await until(chat, () => chat.getConnection().state === 'live');
});

test('a client with a bad token is refused, and comes back when the app says so', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  let token = 'nonsense';
  const chat = clientOf(alice, { token: async () => token });
  const opened = chat.open(bob.name);
  opened.catch(() => {});
  chat.connect();
  await until(chat, () => chat.getConnection().state === 'refused');
  expect(chat.getConnection().error).toMatchObject({ code: 'unauthorized', retryable: false });
  await expect(opened).rejects.toMatchObject({ code: 'unauthorized' });
  token = alice.token();
  await chat.refreshToken();
  await until(chat, () => chat.getConnection().state === 'live');
});

test('an app that cannot get a token is asked again', async () => {
  const alice = person('alice');
  let fails = 2;
  const token = async (): Promise<string> => {
    if (fails-- > 0) throw new Error('no network');
    return alice.token();
  };
  const chat = clientOf(alice, { token });
  chat.connect();
  await until(chat, () => chat.getConnection().error?.code === 'token_failed');
  expect(chat.getConnection().state).toBe('offline');
  await until(chat, () => chat.getConnection().state === 'live');
});

test('a client that is closed and connected at once, as React does, works', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  await (await live(bob)).updateSettings({ showPresence: 'everyone' });
  const chat = clientOf(alice);
  const first = chat.open(bob.name);
  chat.connect();
  const closed = chat.close();
  const second = chat.open(bob.name);
  second.catch(() => {});
  chat.connect();
  await expect(first).rejects.toMatchObject({ code: 'closed' });
  await closed;
  await until(chat, () => chat.getConnection().state === 'live');
  expect(await second).toMatchObject({ peer: { username: bob.name, online: true } });
});

test('a closed client stays closed, and keeps what it has', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  await live(bob);
  const chat = await live(alice);
  chat.send(bob.name, 'Hello');
  await until(chat, () => chat.getConversation(bob.name)?.lastSeq === 1);
  await chat.close();
  expect(chat.getConnection()).toMatchObject({ state: 'offline', error: { code: 'closed' } });
  expect(texts(chat, bob.name)).toEqual(['Hello']);
  const opened = chat.open(bob.name);
  chat.connect();
  expect(await opened).toMatchObject({ lastSeq: 1 });
});

test('when somebody else signs in, nothing of the first user is left', async () => {
  const [alice, bob, carol] = [person('alice'), person('bob'), person('carol')];
  await live(bob);
  let who = alice;
  const chat = clientOf(alice, { token: async () => who.token() });
  chat.connect();
  await until(chat, () => chat.getConnection().state === 'live');
  chat.send(bob.name, 'From Alice');
  await until(chat, () => chat.getConversation(bob.name)?.lastSeq === 1);
  chat.setOnline(false);
  chat.send(bob.name, 'Never sent by Carol');
  who = carol;
  chat.setOnline(true);
  await until(chat, () => chat.getConnection().state === 'live' && chat.getConnection().userId === carol.id);
  expect(chat.getChats().items).toEqual([]);
  who = alice;
  chat.dropConnection();
  await until(chat, () => chat.getConversation(bob.name)?.lastSeq === 2);
  expect(chat.getConversation(bob.name)!.messages.at(-1)).toMatchObject({ text: 'Never sent by Carol', senderId: alice.id });
});

test('a token of somebody else ends the connection, and nothing of the two is mixed up', async () => {
  const [alice, bob, carol] = [person('alice'), person('bob'), person('carol')];
  const bobs = await live(bob);
  const storage = memoryStorage();
  const before = await live(carol, { storage });
  before.setOnline(false);
  before.send(bob.name, 'From Carol');
  await before.close();
  let who = alice;
  const chat = await live(alice, { storage, token: async () => who.token() });
  chat.send(bob.name, 'From Alice');
  await until(bobs, () => texts(bobs, alice.name).length === 1);
  who = carol;
  await chat.refreshToken();
  await until(bobs, () => texts(bobs, carol.name).length === 1);
  expect([texts(bobs, alice.name), texts(bobs, carol.name)]).toEqual([['From Alice'], ['From Carol']]);
  expect(chat.getConnection()).toMatchObject({ userId: carol.id, username: carol.name });
  expect(texts(chat, bob.name)).toEqual(['From Carol']);
});

test('the oldest of too many connections of a user is replaced, and does not push the next one out at once', async () => {
  const alice = person('alice');
  const oldest = await live(alice);
  for (let number = 0; number < 20; number++) await live(alice);
  await until(oldest, () => oldest.getConnection().state === 'offline');
  expect(oldest.getConnection().error).toMatchObject({ code: 'rate_limited', retryable: true });
});

test('typing and presence of the peer show, and end', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  const [alices, bobs] = [await live(alice), await live(bob, { url: edges[1]! })];
  await bobs.updateSettings({ showPresence: 'everyone' });
  alices.send(bob.name, 'Hello');
  await alices.open(bob.name);
  await until(bobs, () => texts(bobs, alice.name).length === 1);
  await until(alices, () => alices.getConversation(bob.name)?.peer.online);
  bobs.typing(alice.name);
  await until(alices, () => alices.getChats().items[0]?.typing);
  await until(alices, () => !alices.getChats().items[0]?.typing);
  bobs.typing(alice.name);
  await until(alices, () => alices.getConversation(bob.name)?.typing);
  bobs.send(alice.name, 'Hi');
  await until(alices, () => !alices.getConversation(bob.name)?.typing && texts(alices, bob.name).length === 2);
  await bobs.close();
  await until(alices, () => alices.getConversation(bob.name)?.peer.online === false);
});

test('devices are registered and forgotten', async () => {
  const chat = await live(person('alice'));
  const address = createHash('sha256').update(randomUUID()).digest('hex');
  const id = await chat.registerDevice({ channel: 'fcm', address });
  expect(await chat.registerDevice({ channel: 'fcm', address })).toBe(id);
  await chat.unregisterDevice(id);
  await expect(chat.registerDevice({ channel: 'webhook', address: 'http://x' })).rejects.toMatchObject({ code: 'invalid_payload' });
});

test('everything on the wire can be watched, and no token is in it', async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  await live(bob);
  const chat = clientOf(alice);
  const seen: WireEvent[] = [];
  const stop = chat.onEvent((event) => seen.push(event));
  chat.connect();
  await until(chat, () => chat.getConnection().state === 'live');
  chat.send(bob.name, 'Hello');
  await until(chat, () => chat.getConversation(bob.name)?.lastSeq === 1);
  await chat.refreshToken();
  const sends = seen.filter(({ name }) => name === 'send_message');
  expect(sends).toMatchObject([
    { direction: 'out', data: { username: bob.name, text: 'Hello' } },
    { direction: 'in', ack: { success: true, message: { seq: 1 } } },
  ]);
  expect(seen.map(({ name }) => name)).toEqual(expect.arrayContaining(['connection_success', 'message_sent', 'refresh_token']));
  expect(JSON.stringify(seen)).not.toContain('eyJ');
  stop();
});
