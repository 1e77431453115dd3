// Runs the snippet of "Many chats" in docs/events.md, for a user with as many chats as the first argument says.
// The others are the names of three peers.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { closeAll, connect, once, url } from './client.mjs';

const page = readFileSync(new URL('../../../docs/events.md', import.meta.url), 'utf8');
const [, snippet] = page.split('#### Many chats')[1].split('```').map((part) => part.replace(/^js\n/, ''));
const [count, ...peers] = process.argv.slice(2);
const alice = JSON.parse(process.env.BBGRAM_ALICE);

const [socket, other] = [1, 2].map(() => connect(url, { auth: { token: alice.token } }));
await Promise.all([once(socket, 'connect'), once(other, 'connect')]);
const known = new Map();
const stored = new Map();
let requests = 0;
socket.onAnyOutgoing(() => { requests += 1; });

function store(message) {
  if ((message.change ?? 0) >= (stored.get(message.id)?.change ?? 0)) stored.set(message.id, message);
}

function clear(chatId, upTo) {
  for (const { id, chatId: of, seq } of stored.values()) if (of === chatId && seq <= upTo) stored.delete(id);
}

const start = new Function('socket', 'known', 'store', 'clear', `let since = null; ${snippet}; return catchUp;`);
const catchUp = start(socket, known, store, clear);

// Does something on the other device while this one is away, then lets this one catch up.
async function missing(happens) {
  socket.disconnect();
  const outcome = await happens();
  socket.connect();
  await once(socket, 'connect');
  requests = 0;
  await catchUp();
  return outcome;
}

async function elsewhere(event, payload) {
  const ack = await other.timeout(15000).emitWithAck(event, payload);
  assert.ok(ack.success, JSON.stringify(ack));
  return ack.message;
}

const stateOf = ({ id }) => stored.get(id);
const asks = async (expected) => {
  assert.equal(requests, expected);
  requests = 0;
  await catchUp();
  assert.equal(requests, 1);
};

await catchUp();
assert.equal(stored.size, Number(count));
assert.equal(known.size, Number(count));

const sent = await missing(async () => {
  const messages = [];
  for (const username of peers) messages.push(await elsewhere('send_message', { username, text: 'hello' }));
  return messages;
});
assert.equal(stored.size, Number(count) + peers.length);
assert.deepEqual(sent.map((message) => stateOf(message)?.text), peers.map(() => 'hello'));
await asks(2);

const [unsent, edited, cleared] = sent;
await missing(async () => {
  await elsewhere('unsend_message', { chatId: unsent.chatId, seq: unsent.seq });
  await elsewhere('edit_message', { chatId: edited.chatId, seq: edited.seq, text: 'hello again' });
  await elsewhere('clear_chat', { chatId: cleared.chatId, upTo: cleared.seq });
});
assert.equal(stateOf(unsent).text, '');
assert.ok(stateOf(unsent).deletedAt);
assert.equal(stateOf(edited).text, 'hello again');
assert.deepEqual([...stored.values()].filter(({ chatId }) => chatId === cleared.chatId), []);
assert.equal(stored.size, Number(count) + peers.length - 2);
await asks(2);
closeAll();
