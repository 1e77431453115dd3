// Runs scenarios against any server, all at once. Exits with 1 and says why when one fails.
//
// BBGRAM_URL           where the server is
// BBGRAM_TRANSPORTS    JSON list; the client's default when not set
// BBGRAM_PEOPLE        JSON: for each scenario to run, who signs in: {username, auth, shortAuths}. `auth` is what
//                      to sign in with; `shortAuths` are the same for tokens that end soon, each later than the last
// BBGRAM_SERVER        edge, or stock python-socketio
import assert from 'node:assert/strict';
import { ask, closeAll, connect, expect, once, received, url } from '../e2e/js/client.mjs';

const people = JSON.parse(process.env.BBGRAM_PEOPLE);
const transports = JSON.parse(process.env.BBGRAM_TRANSPORTS ?? 'null');

// A stock server loses what comes in one poll of more than 16 packets.
const BURST = 8;
const quick = { reconnectionDelay: 50, reconnectionDelayMax: 100 };

function scenariosOf({ username, auth, shortAuths }) {
  async function arrive(options) {
    const socket = connect(url, { auth, ...quick, ...options });
    socket.onAny((event, payload, ack) => ack?.({ received: true }));
    await expect(socket, 'test_message');
    if (transports === null && socket.io.engine.transport.name !== 'websocket') {
      await once(socket.io.engine, 'upgrade');
    }
    assert.equal((await ask(socket, 'list_chats', {})).success, true);
    return socket;
  }

  return {
    async connects_with_the_transport_it_asked_for() {
      const socket = await arrive();
      assert.equal(socket.io.engine.transport.name, transports?.[0] ?? 'websocket');
      // The stock server tells everybody who comes, whenever that is.
      const own = socket.events.map((one) => one.event).filter((event) => event !== 'user_status');
      assert.deepEqual(own.slice(0, 2), ['connection_success', 'test_message']);
      assert.notEqual(socket.id, socket.io.engine.id);
    },

    async emits_with_an_ack_and_gets_events_with_one() {
      const socket = await arrive();
      let acked = 0;
      socket.on('new_message', (message, ack) => {
        ack({ received: true });
        acked += 1;
      });
      const texts = Array.from({ length: BURST }, (_, number) => `\u{1F600} ${number}`);
      const acks = await Promise.all(texts.map((text) => ask(socket, 'send_message', { username, text })));
      assert.deepEqual(acks.map((ack) => ack.message.text), texts);
      await expect(socket, 'new_message', { count: texts.length });
      assert.deepEqual(received(socket, 'new_message').map((message) => message.text), texts);
      assert.equal(acked, texts.length);
    },

    async loses_and_doubles_nothing_while_it_upgrades() {
      const socket = connect(url, { auth, ...quick });
      await expect(socket, 'test_message');
      assert.equal((await ask(socket, 'list_chats', {})).success, true);
      const texts = Array.from({ length: 10 * BURST }, (_, number) => `${number}`);
      for (let first = 0; first < texts.length; first += BURST) {
        const burst = texts.slice(first, first + BURST);
        const acks = await Promise.all(burst.map((text) => ask(socket, 'send_message', { username, text })));
        assert.ok(acks.every((ack) => ack.success));
      }
      await expect(socket, 'new_message', { count: texts.length });
      assert.equal((await ask(socket, 'list_chats', {})).success, true);
      assert.deepEqual(received(socket, 'new_message').map((message) => message.text), texts);
    },

    async is_refused_without_a_token_and_connects_with_one() {
      const socket = connect(url, { auth: {}, ...quick });
      const error = await once(socket, 'connect_error');
      assert.equal(error.data.code, 'unauthorized');
      assert.ok(error.message.length > 0);
      assert.equal(socket.active, false);
      socket.auth = auth;
      socket.connect();
      await expect(socket, 'test_message');
    },

    async is_refused_another_namespace_and_keeps_the_first() {
      const socket = await arrive({ forceNew: false });
      const other = socket.io.socket('/other', { auth });
      const refused = once(other, 'connect_error');
      other.connect();
      const { message, data } = await refused;
      if (process.env.BBGRAM_SERVER === 'edge') {
        assert.match(message, /^Invalid namespace/);
        assert.deepEqual(data, { code: 'invalid_payload', message, retryable: false });
      } else {
        // python-socketio gives the reason as a string, where this client looks for an object.
        assert.equal(message, '');
      }
      assert.equal((await ask(socket, 'list_chats', {})).success, true);
    },

    async disconnects_and_connects_again_on_the_same_manager() {
      const socket = await arrive();
      const first = socket.id;
      const gone = once(socket, 'disconnect');
      socket.disconnect();
      assert.equal(await gone, 'io client disconnect');
      socket.connect();
      await expect(socket, 'test_message', { count: 2 });
      assert.notEqual(socket.id, first);
      assert.equal((await ask(socket, 'list_chats', {})).success, true);
    },

    async hears_that_the_server_disconnects_it_and_does_not_come_back_by_itself() {
      const [first, ...longer] = shortAuths;
      const socket = connect(url, { auth: first, ...quick });
      socket.on('connect_error', ({ data }) => {
        // On a busy machine, a token may end before the server sees it.
        assert.equal(data?.code, 'token_expired');
        socket.auth = longer.shift();
        socket.connect();
      });
      assert.equal(await once(socket, 'disconnect'), 'io server disconnect');
      assert.equal(socket.active, false);
      socket.auth = auth;
      socket.connect();
      await expect(socket, 'test_message', { count: 2 });
      assert.equal((await ask(socket, 'list_chats', {})).success, true);
    },

    async comes_back_by_itself_after_the_server_has_closed_the_engine() {
      const socket = await arrive();
      const gone = once(socket, 'disconnect');
      const back = once(socket, 'connect');
      // Larger than the server reads: it closes a websocket, and refuses a poll.
      socket.emit('dance', 'x'.repeat(1_000_001));
      assert.ok(['transport close', 'transport error'].includes(await gone));
      await back;
      await expect(socket, 'test_message', { count: 2 });
      assert.equal((await ask(socket, 'list_chats', {})).success, true);
    },
  };
}

process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

function fail(error) {
  console.error(error.stack ?? error);
  process.exit(1);
}

async function run([name, person]) {
  try {
    await scenariosOf(person)[name]();
    return true;
  } catch (error) {
    console.error(`${name} failed: ${error.stack ?? error}`);
    return false;
  }
}

const passed = await Promise.all(Object.entries(people).map(run));
closeAll();
// A stock server leaves polls open after the client has gone, and with them the process.
process.exit(passed.every(Boolean) ? 0 : 1);
