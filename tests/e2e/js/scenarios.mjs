// What websocket-chat.md tells app developers to write, and what they may rely on when they do.
import assert from 'node:assert/strict';
import { ask, connect, expect, once, received, url } from './client.mjs';
import { Proxy } from './proxy.mjs';

const alice = JSON.parse(process.env.BBGRAM_ALICE);
const bob = JSON.parse(process.env.BBGRAM_BOB);
const transports = JSON.parse(process.env.BBGRAM_TRANSPORTS ?? 'null');

// Once the server has answered, it knows the user: others can write to them.
async function arrive(person, { address = url, listen = acknowledge, ...options } = {}) {
  const socket = connect(address, { auth: { token: person.token }, ...options });
  listen(socket);
  await expect(socket, 'test_message');
  assert.equal((await ask(socket, 'list_chats', {})).success, true);
  return socket;
}

// Handlers that ack, as the document means it.
function acknowledge(socket) {
  socket.on('test_message', (data, ack) => ack({ received: true, timestamp: new Date().toISOString() }));
  socket.on('ping', (data, ack) => ack({ pong: true, timestamp: new Date().toISOString() }));
  socket.on('new_message', (messageData, ack) => ack({ received: true, messageId: messageData.id }));
}

// Handlers that return, as the document has it. The JavaScript client ignores what a handler returns, so
// these never ack anything.
function returnOnly(socket) {
  socket.on('test_message', () => {
    return { received: true, timestamp: new Date().toISOString() };
  });
  socket.on('ping', () => {
    return { pong: true, timestamp: new Date().toISOString() };
  });
  socket.on('new_message', (messageData) => {
    return { received: true, messageId: messageData.id };
  });
}

async function send(socket, username, texts) {
  for (const response of await Promise.all(texts.map((text) => ask(socket, 'send_message', { username, text })))) {
    assert.equal(response.success, true, response.error);
  }
}

function numbered(first, last) {
  return Array.from({ length: last - first + 1 }, (_, index) => `message ${first + index}`);
}

function texts(socket) {
  return received(socket, 'new_message').map((message) => message.text);
}

export async function connection_success_carries_the_user_id_and_test_message_follows() {
  const socket = connect(url, { auth: { token: alice.token } });
  acknowledge(socket);
  await expect(socket, 'test_message');
  assert.deepEqual(socket.events.slice(0, 2).map((one) => one.event), ['connection_success', 'test_message']);
  assert.equal(received(socket, 'connection_success')[0].userId, alice.userId);
}

export async function the_connection_uses_the_transport_that_was_asked_for() {
  const socket = connect(url, { auth: { token: alice.token } });
  assert.equal(socket.io.engine.transport.name, transports?.[0] ?? 'polling');
  if (transports === null) await once(socket.io.engine, 'upgrade');
  await expect(socket, 'test_message');
  assert.equal(socket.io.engine.transport.name, transports?.[0] ?? 'websocket');
  assert.equal((await ask(socket, 'list_chats', {})).success, true);
}

export async function a_ping_arrives_again_after_it_was_acked() {
  const socket = await arrive(alice);
  const data = await expect(socket, 'ping', { count: 2 });
  assert.ok(!Number.isNaN(Date.parse(data.timestamp)));
  assert.equal((await ask(socket, 'list_chats', {})).success, true);
}

export async function a_sent_message_is_acked_confirmed_and_delivered() {
  const [sender, recipient] = [await arrive(alice), await arrive(bob, { listen: () => {} })];
  recipient.on('new_message', (messageData, ack) => {
    assert.equal(received(sender, 'message_status').length, 0);
    ack({ received: true, messageId: messageData.id });
  });
  const response = await ask(sender, 'send_message', { username: bob.username, text: 'Hello, how are you?' });
  assert.equal(response.success, true);
  const sent = await expect(sender, 'message_sent');
  const got = await expect(recipient, 'new_message');
  assert.deepEqual([sent.text, sent.id, sent.status], ['Hello, how are you?', response.message.id, 'sent']);
  assert.deepEqual(got, sent);
  const status = await expect(sender, 'message_status');
  assert.deepEqual(
    [status.chatId, status.userId, status.status, status.upTo],
    [sent.chatId, bob.userId, 'delivered', sent.seq],
  );
}

export async function a_message_stays_sent_while_nobody_acks_it() {
  const [sender, recipient] = [await arrive(alice), await arrive(bob, { listen: returnOnly })];
  await send(sender, bob.username, ['Hello']);
  await expect(recipient, 'new_message');
  const { messages } = await ask(sender, 'join_chat', { username: bob.username });
  assert.deepEqual(messages.map((message) => message.status), ['sent']);
}

export async function join_chat_acks_the_chat_id() {
  const [one, other] = [await arrive(alice), await arrive(bob)];
  const response = await ask(one, 'join_chat', { username: bob.username });
  assert.equal(response.success, true);
  assert.match(response.chatId, /^[0-9a-f-]{36}$/);
  const again = await ask(other, 'join_chat', { username: alice.username });
  assert.equal(again.chatId, response.chatId);
}

export async function mark_as_read_acks_and_tells_the_sender() {
  const [sender, reader] = [await arrive(alice), await arrive(bob)];
  await send(sender, bob.username, ['Hello']);
  const { chatId } = await expect(reader, 'new_message');
  const response = await ask(reader, 'mark_as_read', { chatId });
  assert.equal(response.success, true);
  const status = await expect(sender, 'message_status', { where: (one) => one.status === 'read' });
  assert.deepEqual([status.chatId, status.userId, status.upTo], [chatId, bob.userId, 1]);
}

export async function a_failure_acks_its_error_and_raises_an_error_event() {
  const socket = await arrive(alice);
  for (const [event, payload] of [
    ['send_message', { username: `${bob.username}_who_does_not_exist`, text: 'Hello' }],
    ['join_chat', { username: `${bob.username}_who_does_not_exist` }],
    ['mark_as_read', { chatId: 'chat_id_here' }],
  ]) {
    const response = await ask(socket, event, payload);
    const error = await expect(socket, 'error', { where: (one) => one.event === event });
    assert.equal(response.success, false);
    assert.ok(response.error.length > 0);
    assert.equal(error.message, response.error);
  }
}

async function refusal(options) {
  const socket = connect(url, options);
  const error = await once(socket, 'connect_error');
  assert.equal(socket.connected, false);
  assert.equal(received(socket, 'connection_success').length, 0);
  return error;
}

export async function an_invalid_token_is_a_rejected_connection() {
  const error = await refusal({ auth: { token: 'your-supabase-jwt-token' } });
  assert.equal(error.data.code, 'unauthorized');
  assert.equal(error.message, error.data.message);
}

export async function a_missing_token_is_a_rejected_connection() {
  for (const options of [{}, { auth: {} }, { auth: { token: null } }]) {
    const error = await refusal(options);
    assert.equal(error.data.code, 'unauthorized');
    assert.ok(error.data.message.length > 0);
  }
}

export async function an_expired_token_is_a_rejected_connection({ expired }) {
  const error = await refusal({ auth: { token: expired } });
  assert.equal(error.data.code, 'token_expired');
}

export async function a_cut_connection_resumes_with_nothing_missed() {
  const proxy = new Proxy(url);
  await proxy.open();
  const sender = await arrive(alice);
  const recipient = await arrive(bob, {
    address: proxy.url,
    reconnection: true,
    reconnectionAttempts: 5,
    reconnectionDelay: 1000,
  });
  await send(sender, bob.username, numbered(1, 3));
  await expect(sender, 'message_status', { where: (one) => one.upTo === 3 });
  const gone = once(recipient, 'disconnect');
  await proxy.cut();
  await gone;
  await send(sender, bob.username, numbered(4, 40));
  await proxy.open();
  await Promise.all([once(recipient, 'connect'), send(sender, bob.username, numbered(41, 60))]);
  await expect(recipient, 'new_message', { where: (one) => one.seq === 60 });
  assert.deepEqual(texts(recipient), numbered(1, 60));
  recipient.disconnect();
  await proxy.cut();
}

export async function a_client_that_never_acks_gets_its_backlog_and_what_follows_each_once() {
  const [sender, recipient] = [await arrive(alice), await arrive(bob)];
  recipient.disconnect();
  await send(sender, bob.username, numbered(1, 120));
  const back = await arrive(bob, { listen: returnOnly });
  await send(sender, bob.username, numbered(121, 125));
  await expect(back, 'new_message', { where: (one) => one.seq === 125 });
  await send(sender, bob.username, numbered(126, 130));
  await expect(back, 'new_message', { where: (one) => one.seq === 130 });
  assert.deepEqual(texts(back), numbered(1, 130));
}
