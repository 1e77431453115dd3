/** A client in a process of its own, so that it can be killed: writes to a peer, and tells its parent what it sees. */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createChat, type ChatMessage, type ChatStorage } from '../../src/index.js';
import { until } from '../until.js';

/** What the parent gives it. */
export interface WriterOptions {
  url: string;
  token: string;
  peer: string;
  folder: string;
  /** Begins its texts. */
  name: string;
}

/** What it tells its parent. */
export type WriterNews = { sent: string } | { rows: readonly unknown[] };

const AT_ONCE = 5;

/** Keep messages in a folder, each in a file. */
export function diskStorage(folder: string): ChatStorage {
  const file = (key: string): string => join(folder, encodeURIComponent(key));
  return {
    list: async (prefix) => {
      await mkdir(folder, { recursive: true });
      const keys = (await readdir(folder)).filter((name) => !name.endsWith('.tmp')).map(decodeURIComponent);
      const found = keys.filter((key) => key.startsWith(prefix));
      return Promise.all(found.map(async (key) => [key, JSON.parse(await readFile(file(key), 'utf8'))] as const));
    },
    set: async (key, value) => {
      await writeFile(`${file(key)}.tmp`, JSON.stringify(value));
      await rename(`${file(key)}.tmp`, file(key));
    },
    delete: (key) => rm(file(key), { force: true }),
  };
}

async function write({ url, token, peer, folder, name }: WriterOptions): Promise<void> {
  const chat = createChat({ url, token: async () => token, storage: diskStorage(folder), socket: { transports: ['websocket'] } });
  const tell = (news: WriterNews): void => void process.send!(news);
  const messages = (): readonly ChatMessage[] => chat.getConversation(peer)?.messages ?? [];
  const waiting = (): number => messages().filter(({ state }) => state === 'pending').length;
  const reported = new Set<string>();
  let isOver = false;

  process.on('disconnect', () => process.exit());
  process.on('message', () => (isOver = true));
  chat.subscribe(() => {
    for (const { mine, key, state } of messages()) {
      if (!mine || state === 'pending' || state === 'failed' || reported.has(key)) continue;
      reported.add(key);
      tell({ sent: key });
    }
  });
  chat.connect();
  await chat.open(peer);
  for (let number = 1; !isOver; number++) {
    chat.send(peer, `${name}.${number}`);
    await until(chat, () => waiting() < AT_ONCE, 35_000);
  }
  await until(chat, () => chat.getConnection().state === 'live' && !waiting(), 35_000);
  while (chat.getConversation(peer)!.hasOlder) await chat.loadOlder(peer);
  const show = (): void => tell({ rows: messages().map(({ seq, id, text }) => [seq, id, text]) });
  chat.subscribe(show);
  show();
}

if (process.send && process.argv[2]) void write(JSON.parse(process.argv[2]) as WriterOptions);
