// Opens official Socket.IO clients and waits for what they receive.
import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

export const url = process.env.BBGRAM_URL;
const transports = JSON.parse(process.env.BBGRAM_TRANSPORTS ?? 'null');
const opened = [];

// Connect as an app does. Only `transports` is set from outside, and only where the test asks for it.
export function connect(address, options) {
  const socket = io(address, { forceNew: true, ...(transports && { transports }), ...options });
  socket.events = [];
  socket.onAny((event, payload) => socket.events.push({ event, payload }));
  opened.push(socket);
  return socket;
}

export function closeAll() {
  for (const socket of opened) socket.disconnect();
}

export function ask(socket, event, payload) {
  return new Promise((answer) => socket.emit(event, payload, answer));
}

export function received(socket, event, where = () => true) {
  return socket.events.filter((one) => one.event === event && where(one.payload)).map((one) => one.payload);
}

// Wait until `count` such events have come; return the last of them.
export async function expect(socket, event, { where = () => true, count = 1, within = 60_000 } = {}) {
  const deadline = Date.now() + within;
  while (received(socket, event, where).length < count) {
    const left = deadline - Date.now();
    if (left <= 0) {
      const got = received(socket, event, where).length;
      assert.fail(`got ${got} of ${count} ${event}; all: ${socket.events.map((one) => one.event)}`);
    }
    await anything(socket, left);
  }
  return received(socket, event, where)[count - 1];
}

// Wait for an event of the socket itself (`connect`, `disconnect`, `connect_error`).
export function once(emitter, event, within = 60_000) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${event} within ${within} ms`)), within);
    emitter.once(event, (...args) => {
      clearTimeout(late);
      resolve(args[0]);
    });
  });
}

function anything(socket, within) {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(late);
      socket.offAny(wake);
      resolve();
    };
    const late = setTimeout(wake, within);
    socket.onAny(wake);
  });
}
