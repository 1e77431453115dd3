// Runs the snippet of "Many chats" in docs/events.md, for a user with as many chats as the first argument says.
// The others are the names of some peers.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { closeAll, connect, once, url } from './client.mjs';

const page = readFileSync(new URL('../../../docs/events.md', import.meta.url), 'utf8');
const [, snippet] = page.split('#### Many chats')[1].split('```').map((part) => part.replace(/^js\n/, ''));
const [count, ...peers] = process.argv.slice(2);
const alice = JSON.parse(process.env.BBGRAM_ALICE);

const [socket, other] = [1, 2].map(() => connect(url, { auth: { token: alice.token } }));
await Promise.all([once(socket, 'connect'), once(other, 'connect')]);
const seqs = new Map();
const stored = [];
let requests = 0;
socket.onAnyOutgoing(() => { requests += 1; });
const start = new Function('socket', 'seqs', 'store', `let since = null; ${snippet}; return catchUp;`);
const catchUp = start(socket, seqs, (message) => stored.push(message));

await catchUp();
assert.equal(stored.length, Number(count));
assert.equal(seqs.size, Number(count));

for (const username of peers) {
  const ack = await other.timeout(15000).emitWithAck('send_message', { username, text: 'hello' });
  assert.ok(ack.success, JSON.stringify(ack));
}
requests = 0;
await catchUp();
assert.deepEqual(stored.slice(Number(count)).map((message) => message.recipientUsername).sort(), peers.sort());
assert.equal(requests, 2);
await catchUp();
assert.equal(requests, 3);
closeAll();
