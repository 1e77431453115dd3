import type { Unread } from './api.js';
import type { Message } from './contract.js';
import type { ChatRecord } from './record.js';
import type { ChatStore } from './store.js';

/** How much the user has not read in all: what the server last said, and what has come and was read here since. */
export class UnreadTotals {
  /** Undefined until the server has said it. The same object until something changes. */
  snapshot: Unread | undefined;
  /** When the newest message that was missed was stored: the server has counted these. */
  #missedUpTo: number | undefined;
  /** Ids of messages that have come by themselves since. A list of chats may tell of them first. */
  readonly #received = new Set<string>();

  constructor(private readonly store: ChatStore) {}

  /** Take what the server says. */
  take({ total, chats }: Unread): void {
    const known = this.snapshot;
    if (total !== known?.total || chats !== known.chats) this.snapshot = { total, chats };
  }

  /** There is a new connection, and messages may have been missed. */
  restart(): void {
    this.#missedUpTo = undefined;
    this.#received.clear();
  }

  /** Take a message that has just come. A chat of which nothing else is known may be one that does not count, unless this is its first. */
  receive(message: Message): void {
    const { id, chatId, seq, createdAt } = message;
    this.#missedUpTo ??= this.store.newest;
    const isMissed = Date.parse(createdAt) <= this.#missedUpTo || this.#received.has(id);
    const known = this.store.byId(chatId);
    const isKnown = known?.isListed || seq === 1;
    this.store.takeMessage(message);
    this.#received.add(id);
    const record = this.store.byId(chatId)!;
    const unread = this.#unreadIn(record);
    if (!isMissed && isKnown && unread && seq > record.readUpTo) this.#add(1, Number(unread === 1));
  }

  /** Take that the user reads a chat. */
  read<T>(record: ChatRecord, read: () => T): T {
    const before = this.#unreadIn(record);
    const done = read();
    const now = this.#unreadIn(record);
    this.#add(now - before, now ? 0 : -Number(before > 0));
    return done;
  }

  #add(messages: number, chats: number): void {
    const known = this.snapshot;
    if (known) this.take({ total: Math.max(0, known.total + messages), chats: Math.max(0, known.chats + chats) });
  }

  /** The unread messages of a chat that count: none of requests, nor of chats that are archived, muted or blocked. */
  #unreadIn(record: ChatRecord): number {
    const { box, mutedUntil, blocked } = record.own.shown;
    return box !== 'inbox' || blocked || Date.parse(mutedUntil ?? '') > Date.now() ? 0 : record.unread(this.store.me);
  }
}
