// Two members of a chat and a stranger, with the programs of docs/supabase.md, which stand in for PAGE.
import assert from 'node:assert/strict';

import { createClient } from '@supabase/supabase-js';
import { io } from 'socket.io-client';
import WebSocket from 'ws';

const { STORAGE_URL, CHAT_URL, TOKENS } = process.env;
const tokens = JSON.parse(TOKENS);

function person(name) {
  const token = tokens[name];
  const supabase = createClient(STORAGE_URL, 'publishable-key', {
    accessToken: async () => token,
    realtime: { transport: WebSocket },
  });
  const socket = io(CHAT_URL, { auth: { token }, transports: ['websocket'] });
  const next = (event) => new Promise((resolve) => socket.once(event, resolve));
  const connected = next('connection_success');
  const files = supabase.storage.from('chat-attachments');
  // PAGE
  return { name, socket, files, next, connected, upload, sendFiles, addressOf, unsendFiles };
}

const [alice, bob, eve] = ['alice', 'bob', 'eve'].map(person);
await Promise.all([alice, bob, eve].map(({ connected }) => connected));
const call = (who, event, payload) => who.socket.timeout(60_000).emitWithAck(event, payload);
const { chatId } = await call(alice, 'join_chat', { username: 'bob' });
const other = await call(eve, 'join_chat', { username: 'alice' });

const bytes = crypto.getRandomValues(new Uint8Array(30_000));
const photo = new File([bytes], 'Größe & Höhe.png', { type: 'image/png' });
const arrives = bob.next('new_message');
const { message: sent } = await alice.sendFiles('bob', chatId, [photo]);
const received = await arrives;
const [attachment] = received.data.attachments;
assert.equal(received.text, '');
assert.deepEqual(attachment, { ...attachment, bucket: 'chat-attachments', type: 'image/png', size: 30_000, name: photo.name });
assert.match(attachment.path, new RegExp(`^${chatId}/[0-9a-f-]{36}/Gr__e___H_he\\.png$`));

for (const reader of [alice, bob]) {
  const answer = await fetch(await reader.addressOf(received, attachment));
  assert.deepEqual(new Uint8Array(await answer.arrayBuffer()), bytes);
  assert.equal(answer.headers.get('content-type'), 'image/png');
  assert.match(answer.headers.get('content-disposition'), /^attachment;/);
}

// A stranger knows the path.
await assert.rejects(eve.addressOf(received, attachment), /not found/);
assert.ok((await eve.files.download(attachment.path)).error);
assert.deepEqual((await eve.files.remove([attachment.path])).data, []);
await assert.rejects(eve.upload(chatId, photo), /row-level security/);
// Eve names a file that alice may read, in a chat that alice has with eve.
await assert.rejects(alice.addressOf({ chatId: other.chatId }, attachment), /not a file of this chat/);
// Members neither replace nor delete each other's files, and upload to the chat's folder only.
assert.match((await bob.files.upload(attachment.path, photo, { upsert: true })).error.message, /row-level security/);
assert.deepEqual((await bob.files.remove([attachment.path])).data, []);
assert.match((await bob.files.upload(`${chatId}/photo.png`, photo)).error.message, /row-level security/);
await bob.addressOf(received, attachment);

const changed = bob.next('message_changed');
assert.equal((await alice.unsendFiles(sent)).success, true);
const left = await changed;
assert.equal(left.data, undefined);
assert.ok(left.deletedAt);
await assert.rejects(bob.addressOf(received, attachment), /not found/);
await bob.sendFiles('alice', chatId, [new File(['stays'], 'stays.txt', { type: 'text/plain' })]);

for (const { socket } of [alice, bob, eve]) socket.disconnect();
