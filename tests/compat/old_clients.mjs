// Two users with three devices each: a client as the seed's document has it, the TypeScript client of a release that did not
// know changes of messages yet, and that of this checkout. The new ones do what the others have never heard of, and these must go on as before.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { build } from 'esbuild';
import { io } from 'socket.io-client';

const { BBGRAM_URL: url, OLD_CLIENT, NEW_CLIENT, FOLDER } = process.env;
const PATIENCE_MS = 120_000;
const problems = [];

/** Build a client from its sources, with the packages that are installed for this one. */
async function load(sources, name) {
  const outfile = `${FOLDER}/${name}.cjs`;
  const nodePaths = [`${process.cwd()}/node_modules`];
  await build({ entryPoints: [`${sources}/index.ts`], outfile, nodePaths, bundle: true, format: 'cjs', platform: 'node', logLevel: 'error' });
  return createRequire(import.meta.url)(outfile);
}

const releases = { old: await load(OLD_CLIENT, 'old'), new: await load(NEW_CLIENT, 'new') };

/** Wait until a condition holds; `changed` calls its listener whenever it may have come true. */
function until(what, condition, changed) {
  return new Promise((resolve, reject) => {
    const check = () => {
      if (!condition()) return;
      clearTimeout(late);
      stop();
      resolve();
    };
    const late = setTimeout(() => reject(new Error(`not within ${PATIENCE_MS} ms: ${what}`)), PATIENCE_MS);
    const stop = changed(check);
    check();
  });
}

/** The TypeScript client of a release, connected and up to date. */
async function client(release, me, peer) {
  const { createChat, memoryStorage } = releases[release];
  const chat = createChat({ url, token: async () => me.token, storage: memoryStorage(), socket: { transports: ['websocket'] } });
  const said = `${release} client of ${me.username}`;
  chat.onEvent(({ name, data, ack }) => {
    const error = name === 'error' || name === 'connect_error' ? data : ack?.success === false && ack;
    // It tries again by itself what a busy machine does not answer in time.
    if (error && !error.retryable) problems.push([said, name, error]);
  });
  const shown = () => chat.getConversation(peer.username);
  const device = {
    chat,
    shown,
    texts: () => shown()?.messages.map(({ text }) => text) ?? [],
    until: (what, condition) => until(`${said}: ${what}`, condition, (listener) => chat.subscribe(listener)),
    shows: (text) => device.until(`shows ${text}`, () => device.texts().at(-1) === text && !shown().hole),
    reaches: (text, state) =>
      device.until(`${text} is ${state}`, () => shown()?.messages.some((one) => one.text === text && one.state === state)),
    online: async () => {
      chat.setOnline(true);
      chat.connect();
      await device.until('is live', () => chat.getConnection().state === 'live');
    },
  };
  await device.online();
  return device;
}

/** A client that does what the seed's document says, and nothing else. */
function seed(me, peer) {
  const socket = io(url, { auth: { token: me.token }, transports: ['websocket'], forceNew: true });
  const events = [];
  const named = (event) => events.filter((one) => one.event === event).map(({ payload }) => payload);
  socket.on('test_message', (_, ack) => ack({ received: true, timestamp: new Date().toISOString() }));
  socket.on('ping', (_, ack) => ack({ pong: true, timestamp: new Date().toISOString() }));
  socket.on('new_message', (message, ack) => ack({ received: true, messageId: message.id }));
  socket.on('error', (error) => problems.push([`seed client of ${me.username}`, error]));
  socket.on('connect_error', (error) => problems.push([`seed client of ${me.username}`, error.data ?? error.message]));
  socket.onAny((event, payload) => events.push({ event, payload }));
  const heard = (what, condition) =>
    until(`seed client of ${me.username}: ${what}`, condition, (listener) => {
      socket.onAny(listener);
      return () => socket.offAny(listener);
    });
  const ask = async (event, payload) => {
    const response = await new Promise((answer) => socket.emit(event, payload, answer));
    assert.equal(response.success, true, response.error);
    return response;
  };
  return {
    socket,
    ask,
    send: (text) => ask('send_message', { username: peer.username, text }),
    texts: () => named('new_message').map(({ text }) => text),
    gets: (text) => heard(`gets ${text}`, () => named('new_message').some((message) => message.text === text)),
    isTold: (status, upTo) =>
      heard(`is told ${status}`, () => named('message_status').some((one) => one.status === status && one.upTo >= upTo)),
    connected: () => heard('is connected', () => named('connection_success').length > 0 && socket.connected),
  };
}

async function devices(me, peer) {
  const found = { seed: seed(me, peer), old: await client('old', me, peer), new: await client('new', me, peer) };
  await found.seed.connected();
  return found;
}

const people = { alice: JSON.parse(process.env.ALICE), bob: JSON.parse(process.env.BOB) };
const [alice, bob] = [await devices(people.alice, people.bob), await devices(people.bob, people.alice)];
const [toBob, toAlice] = [people.bob.username, people.alice.username];
for (const device of [alice.old, alice.new]) await device.chat.open(toBob);
for (const device of [bob.old, bob.new]) await device.chat.open(toAlice);

// Everybody writes, and everybody sees it.
alice.new.chat.send(toBob, 'One');
await bob.seed.gets('One');
await bob.seed.send('Two');
await Promise.all([bob.old.shows('Two'), alice.old.shows('Two'), alice.seed.gets('Two')]);
bob.old.chat.send(toAlice, 'Three');
await Promise.all([alice.seed.gets('Three'), alice.old.shows('Three'), alice.new.shows('Three')]);

// A new client does what is new.
await alice.new.chat.edit(toBob, 1, 'One, corrected');
await alice.new.chat.react(toBob, 2, '👍', true);
alice.new.chat.send(toBob, 'Four', { replyTo: 2 });
alice.new.chat.send(toBob, '', { data: { attachments: [{ path: 'photo.png' }] } });
alice.new.chat.send(toBob, 'Six');
await alice.new.until('has sent Six', () => alice.new.shown().lastSeq === 6);
await alice.new.chat.unsend(toBob, 6);
alice.new.chat.send(toBob, 'Seven');
await Promise.all([bob.seed.gets('Seven'), bob.old.shows('Seven'), alice.old.shows('Seven')]);
await bob.new.until('knows the changes', () => bob.new.shown().messages.some(({ deletedAt }) => deletedAt));
// They show each text as it came, and a message with data alone as an empty one.
assert.deepEqual(bob.seed.texts(), ['One', 'Four', '', 'Six', 'Seven']);
for (const { old } of [alice, bob]) assert.deepEqual(old.texts(), ['One', 'Two', 'Three', 'Four', '', 'Six', 'Seven']);

// Old clients read, and hear that theirs were read.
const { chatId } = await bob.seed.ask('join_chat', { username: toAlice });
await bob.seed.ask('mark_as_read', { chatId });
await Promise.all([alice.seed.isTold('read', 7), alice.old.reaches('Seven', 'read'), alice.new.reaches('Seven', 'read')]);
await bob.old.until('has read all', () => bob.old.shown().unread === 0);
alice.old.chat.send(toBob, 'Eight');
await Promise.all([bob.seed.gets('Eight'), bob.old.shows('Eight'), bob.new.shows('Eight')]);
await bob.old.chat.markRead(toAlice);
await Promise.all([alice.seed.isTold('read', 8), alice.old.reaches('Eight', 'read')]);

// Each old client alone takes delivery of a message.
await bob.new.chat.close();
bob.seed.socket.disconnect();
alice.new.chat.send(toBob, 'Nine', { replyTo: 1 });
await Promise.all([bob.old.shows('Nine'), alice.old.reaches('Nine', 'delivered')]);
await bob.old.chat.close();
bob.seed.socket.connect();
await bob.seed.connected();
alice.new.chat.send(toBob, 'Ten');
await Promise.all([bob.seed.gets('Ten'), alice.seed.isTold('delivered', 10), alice.old.reaches('Ten', 'delivered')]);

// What has changed while an old client was away does not hinder its sync: the present texts of what it missed.
await alice.new.chat.edit(toBob, 10, 'Ten, corrected');
await alice.new.chat.edit(toBob, 9, 'Nine, corrected');
await bob.old.online();
await bob.old.shows('Ten, corrected');
assert.deepEqual(bob.old.texts().slice(-3), ['Eight', 'Nine', 'Ten, corrected']);
await bob.new.online();

// A chat is cleared while an old client is away, and while others are there.
alice.old.chat.setOnline(false);
await bob.seed.send('Eleven');
await alice.new.shows('Eleven');
await alice.new.chat.clear(toBob);
await alice.seed.gets('Eleven');
await bob.seed.send('Twelve');
await Promise.all([alice.seed.gets('Twelve'), alice.new.shows('Twelve')]);
await alice.old.online();
await alice.old.shows('Twelve');
assert.equal(alice.old.shown().unread, 1);
const { messages } = await alice.seed.ask('join_chat', { username: toBob });
assert.deepEqual(messages.map(({ text }) => text), ['Twelve']);
await alice.seed.ask('mark_as_read', { chatId });
await Promise.all([bob.old.shows('Twelve'), alice.old.until('has read all', () => alice.old.shown().unread === 0)]);

// Old clients that start now see what there is to see.
const late = { alice: await client('old', people.alice, people.bob), bob: await client('old', people.bob, people.alice) };
await late.alice.chat.open(toBob);
await late.bob.chat.open(toAlice);
assert.deepEqual(late.alice.texts(), ['Twelve']);
assert.deepEqual(late.bob.texts(), [
  'One, corrected', 'Two', 'Three', 'Four', '', '', 'Seven', 'Eight', 'Nine, corrected', 'Ten, corrected', 'Eleven', 'Twelve',
]);
await alice.new.chat.clear(toBob);
const empty = await client('old', people.alice, people.bob);
await empty.chat.open(toBob);
await empty.chat.loadOlder(toBob);
assert.deepEqual([empty.texts(), empty.shown().hasOlder, empty.shown().unread], [[], false, 0]);
await bob.seed.send('Thirteen');
await Promise.all([empty.shows('Thirteen'), late.alice.shows('Thirteen'), alice.old.shows('Thirteen'), alice.seed.gets('Thirteen')]);

// What the app says is a message of its sender to clients that do not know better.
const said = await fetch(`${process.env.API_URL}/v1/messages`, {
  method: 'POST',
  headers: { authorization: `Bearer ${process.env.API_KEY}`, 'content-type': 'application/json' },
  body: JSON.stringify({ kind: 'system', from: people.alice.id, to: people.bob.id, text: 'Fourteen' }),
});
assert.equal(said.status, 201);
await Promise.all([bob.seed.gets('Fourteen'), late.bob.shows('Fourteen'), late.alice.shows('Fourteen'), alice.new.shows('Fourteen')]);
assert.equal(late.alice.shown().messages.at(-1).mine, true);
const { kind, mine } = alice.new.shown().messages.at(-1);
assert.deepEqual([kind, mine], ['system', false]);

assert.deepEqual(problems, []);
process.exit(0);
