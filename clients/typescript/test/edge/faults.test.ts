import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { expect, test, vi } from 'vitest';
import { memoryStorage, type Chat, type ChatMessage } from '../../src/index.js';
import { until } from '../until.js';
import { clientOf, edges, live, person, type Person } from './people.js';
import { diskStorage, type WriterNews, type WriterOptions } from './writer.js';

/** tests/e2e/test_typescript_client.py breaks things meanwhile, makes this file at the end, and checks the report. */
const { BBGRAM_FAULTS: over = '', BBGRAM_REPORT: report = '' } = process.env;
const AT_LEAST = 60;
const AT_ONCE = 5;
const PATIENCE_MS = 60_000;
const KILLS = 5;

const reported = new Set<string>();

/** Note every message that a client says is stored. */
function watch(chat: Chat, peer: Person): Chat {
  chat.subscribe(() => {
    for (const { mine, key, state } of chat.getConversation(peer.name)?.messages ?? [])
      if (mine && state !== 'pending' && state !== 'failed') reported.add(key);
  });
  return chat;
}

const pending = (chat: Chat, peer: Person): ChatMessage[] =>
  chat.getConversation(peer.name)?.messages.filter((message) => message.state === 'pending') ?? [];

/** Send until everything has been broken. Half-way, the app is restarted. */
async function keepSending(first: Chat, me: Person, peer: Person, restart: () => Promise<Chat>): Promise<Chat> {
  let chat = first;
  for (let number = 1; number <= AT_LEAST || !existsSync(over); number++) {
    chat.send(peer.name, `${me.name} ${number}`);
    await until(chat, () => pending(chat, peer).length < AT_ONCE, PATIENCE_MS);
    if (number === AT_LEAST / 2) {
      chat.send(peer.name, `${me.name} before the restart`);
      await chat.close();
      chat = await restart();
    }
  }
  return chat;
}

/** A client that is killed again and again, at moments that nobody chooses, and started anew with what it had on disk. */
class KilledClient {
  /** What was pending on disk when it was killed. */
  readonly onDisk = new Set<string>();
  kills = 0;
  rows: readonly unknown[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'bbgram-writer-'));
  readonly #program = join(import.meta.dirname, `writer-${process.pid}.tmp.mjs`);
  #child: ChildProcess | undefined;

  constructor(
    private readonly me: Person,
    private readonly peer: Person,
    private readonly url: string,
  ) {}

  /** Run it until everything has been broken; the last time, until it is told to end. */
  async run(): Promise<void> {
    await build({
      entryPoints: [join(import.meta.dirname, 'writer.ts')],
      outfile: this.#program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['socket.io-client'],
    });
    while (!existsSync(over) || this.kills < KILLS) {
      this.#start();
      await this.#killed(Math.random() * 25, Math.random() * 30);
      for (const [, entry] of await diskStorage(this.#folder).list('')) {
        const { clientId, text } = entry as { clientId: string; text?: string };
        if (text) this.onDisk.add(clientId);
      }
    }
    this.#start();
  }

  /** Let it send what waits, and show everything. Resolves once that holds. */
  async finish(holds: (rows: readonly unknown[]) => boolean): Promise<void> {
    this.#child!.send('over');
    await vi.waitFor(() => expect(holds(this.rows)).toBe(true), PATIENCE_MS);
  }

  close(): void {
    this.#child?.kill('SIGKILL');
    rmSync(this.#program, { force: true });
    rmSync(this.#folder, { recursive: true });
  }

  #start(): void {
    const options: WriterOptions = {
      url: this.url, token: this.me.token(), peer: this.peer.name, folder: this.#folder, name: `${this.me.name} ${this.kills}`,
    };
    this.#child = fork(this.#program, [JSON.stringify(options)], { execArgv: [] });
    this.#child.on('message', (news: WriterNews) => {
      if ('sent' in news) reported.add(news.sent);
      else this.rows = news.rows;
    });
  }

  /** Kill it some moments after it has reported some messages. */
  async #killed(reports: number, ms: number): Promise<void> {
    const child = this.#child!;
    let count = 0;
    child.on('message', () => ++count > reports && setTimeout(() => child.kill('SIGKILL'), ms));
    const [, signal] = await once(child, 'exit');
    expect(signal).toBe('SIGKILL');
    this.kills++;
  }
}

test('two people write while everything breaks, and one of the clients is killed again and again', { timeout: 200_000 }, async () => {
  const [alice, bob] = [person('alice'), person('bob')];
  await (await live(bob)).close();
  await (await live(alice)).close();
  const storage = memoryStorage();
  const first = watch(await live(alice, { url: edges[0]!, storage }), bob);
  const restart = async (): Promise<Chat> => {
    const again = watch(clientOf(alice, { url: edges[0]!, storage }), bob);
    again.connect();
    await again.open(bob.name);
    return again;
  };
  const bobs = new KilledClient(bob, alice, edges[1]!);
  try {
    const [alices] = await Promise.all([keepSending(first, alice, bob, restart), bobs.run()]);
    await until(alices, () => alices.getConnection().state === 'live' && !pending(alices, bob).length, PATIENCE_MS);
    while (alices.getConversation(bob.name)!.hasOlder) await alices.loadOlder(bob.name);
    const rows = () => alices.getConversation(bob.name)!.messages.map(({ seq, id, text }) => [seq, id, text]);
    await bobs.finish((theirs) => JSON.stringify(theirs) === JSON.stringify(rows()));
    const { onDisk, kills } = bobs;
    writeFileSync(report, JSON.stringify({ stores: [rows(), bobs.rows], reported: [...reported], onDisk: [...onDisk], kills }));
  } finally {
    bobs.close();
  }
});
