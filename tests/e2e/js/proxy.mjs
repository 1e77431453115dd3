// A TCP proxy that a scenario can cut, as a network does.
import net from 'node:net';

export class Proxy {
  #target;
  #server;
  #port = 0;
  #sockets = new Set();

  constructor(target) {
    this.#target = new URL(target);
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  // Take connections, or take them again after a cut, on the same port.
  async open() {
    this.#server = net.createServer((here) => {
      const there = net.connect(Number(this.#target.port), this.#target.hostname);
      for (const [socket, other] of [[here, there], [there, here]]) {
        this.#sockets.add(socket);
        socket.on('error', () => other.destroy());
        socket.on('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
    await new Promise((listening) => this.#server.listen(this.#port, '127.0.0.1', listening));
    this.#port = this.#server.address().port;
  }

  // Break all connections without a farewell and refuse new ones.
  async cut() {
    const closed = new Promise((done) => this.#server.close(done));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }
}
