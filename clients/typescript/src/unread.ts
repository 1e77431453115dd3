import type { Unread } from './api.js';
import type { Message } from './contract.js';
import type { ChatRecord } from './record.js';
import type { ChatStore } from './store.js';

/** How much the user has not read in all: what the server last said, and what has come and was read here since. */
export class UnreadTotals {
  /** Undefined until the server has said it. The same object until something changes. */
  snapshot: Unread | undefined;

  constructor(private readonly store: ChatStore) {}

  /** Take what the server says. */
  take({ total, chats }: Unread): void {
    const known = this.snapshot;
    if (total !== known?.total || chats !== known.chats) this.snapshot = { total, chats };
  }

  /** Take a message that has just been sent. A chat of which nothing is known may be one that does not count, unless it begins with the message. */
  receive(message: Message): void {
    const { chatId, seq } = message;
    const known = this.store.byId(chatId);
    const before = this.#unreadIn(known);
    this.store.takeMessage(message);
    if (known?.isListed || seq === 1) this.#change(before, this.store.byId(chatId));
  }

  /** Take that the user reads a chat. */
  read<T>(record: ChatRecord, read: () => T): T {
    const before = this.#unreadIn(record);
    const done = read();
    this.#change(before, record);
    return done;
  }

  #change(before: number, record: ChatRecord | undefined): void {
    const known = this.snapshot;
    if (!known) return;
    const now = this.#unreadIn(record);
    const chats = Math.max(0, known.chats + Number(now > 0) - Number(before > 0));
    this.take({ total: Math.max(0, known.total + now - before), chats });
  }

  /** The unread messages of a chat that count: none of requests, nor of chats that are archived, muted or blocked. */
  #unreadIn(record: ChatRecord | undefined): number {
    const { box, mutedUntil, blocked } = record?.own.shown ?? {};
    return box !== 'inbox' || blocked || Date.parse(mutedUntil ?? '') > Date.now() ? 0 : record!.unread(this.store.me);
  }
}
