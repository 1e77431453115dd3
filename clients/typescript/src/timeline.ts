import type { Message, Quote } from './contract.js';

/** A page of messages, as `join_chat`, `get_messages` and `sync` return it. */
export interface Page {
  messages: readonly Message[];
  hasMore: boolean;
  archivedBefore?: number;
  change?: number;
}

/**
 * The messages of one chat that are here.
 *
 * Nothing is missing from `first` to `last`: each message is here, or the server no longer has it. Messages after `last`
 * come after a hole.
 */
export class Timeline {
  readonly #messages = new Map<number, Message>();
  #ordered: Message[] | undefined;
  /** The lowest seq that can be here: the user has cleared what is before it. */
  floor = 1;
  /** Undefined until anything is known. */
  first: number | undefined;
  last = 0;
  /** The newest seq that the chat is known to have. */
  top = 0;
  hasOlder = false;
  archivedBefore: number | undefined;

  /** Whether messages are missing between those that are here and the newest. */
  get hasHole(): boolean {
    return this.first !== undefined && this.last < this.top;
  }

  /** The messages in order. */
  get ordered(): readonly Message[] {
    return (this.#ordered ??= [...this.#messages.values()].sort((a, b) => a.seq - b.seq));
  }

  /** Take a message that came by itself. */
  add(message: Message): void {
    const { seq } = message;
    this.top = Math.max(this.top, seq);
    if (seq < this.floor) return;
    this.first ??= this.#begin(seq);
    if (seq < this.first - 1 || this.change(message) || this.#messages.has(seq)) return;
    if (seq === this.first - 1) this.first = seq;
    this.#put(message);
    this.#close();
    this.hasOlder &&= this.first > 1;
  }

  /** The message with a seq, if it is here. */
  get(seq: number): Message | undefined {
    return this.#messages.get(seq);
  }

  /** What a reply shows of a message. */
  quote(seq: number): Quote {
    const { senderId, senderUsername, text, change, deletedAt, kind }: Partial<Message> = this.#messages.get(seq) ?? {};
    return { seq, senderId, senderUsername, text: text && [...text].slice(0, 200).join(''), change, deletedAt, kind };
  }

  /** Put another version in the place of a message, and into the replies to it. */
  replace(message: Message): void {
    this.#messages.set(message.seq, message);
    const { seq } = message;
    const quote = this.quote(seq);
    for (const reply of this.#messages.values())
      if (reply.replyTo?.seq === seq) this.#messages.set(reply.seq, { ...reply, replyTo: quote });
    this.#ordered = undefined;
  }

  /** Take the new state of a message, if the message is here. Returns whether it is news. */
  change(message: Message): boolean {
    const known = this.#messages.get(message.seq);
    if (!known || (known.change ?? 0) >= (message.change ?? 0)) return false;
    this.replace(message);
    return true;
  }

  /** Forget the messages up to a seq: the user has cleared them. Those that are still on their way are not taken. */
  clear(upTo: number): void {
    this.#dropBefore((this.floor = upTo + 1));
    if (this.first === undefined || this.first > this.floor) return;
    this.first = this.floor;
    this.hasOlder = false;
    this.last = Math.max(this.last, upTo);
    this.top = Math.max(this.top, this.last);
    this.#close();
  }

  /** Take the messages directly after a seq; everything up to `reach` is known then. */
  append(after: number, messages: readonly Message[], reach: number): void {
    if (this.first === undefined || after < this.first - 1 || after > this.last) return;
    for (const message of messages) this.#put(message);
    this.last = Math.max(this.last, reach);
    this.top = Math.max(this.top, this.last);
    this.#close();
  }

  /** Take the page before a seq. */
  prepend(before: number, { messages, hasMore, archivedBefore }: Page): void {
    if (before !== this.first) return;
    for (const message of messages) this.#put(message);
    this.first = messages[0]?.seq ?? this.first;
    this.hasOlder = hasMore;
    this.archivedBefore = archivedBefore;
  }

  /** Take the newest page. Messages that it does not connect to are dropped, and can be loaded as older ones. */
  takeNewest(page: Page): void {
    const start = page.messages[0]?.seq ?? page.archivedBefore ?? this.top + 1;
    const end = page.messages.at(-1)?.seq ?? start - 1;
    if (this.first !== undefined && start <= this.last + 1 && start >= this.first) return this.append(start - 1, page.messages, end);
    this.#dropBefore(start);
    this.first = start;
    this.last = Math.max(this.last, end);
    this.prepend(start, page);
    this.append(start - 1, [], end);
  }

  /** Take what a list of chats says of a chat whose messages nobody looks at: its newest message will do. */
  skipTo(top: number, message: Message | null): void {
    this.top = Math.max(this.top, top);
    if (message) this.change(message);
    if (this.first !== undefined && this.last >= top) return;
    if (message && this.first !== undefined && message.seq === this.last + 1) return this.add(message);
    this.#dropBefore(top);
    this.first = message?.seq ?? top + 1;
    this.last = top;
    this.hasOlder = this.first > 1;
    this.archivedBefore = undefined;
    if (message) this.#put(message);
    this.#close();
  }

  /** Most messages are the newest ones: they need no sorting. */
  #put(message: Message): void {
    if (message.seq < this.floor || (this.#messages.get(message.seq)?.change ?? 0) > (message.change ?? 0)) return;
    const answered = message.replyTo && this.#messages.get(message.replyTo.seq);
    // The reply may have been on its way while what it answers changed.
    if (answered && (answered.change ?? 0) > (message.replyTo!.change ?? 0)) message = { ...message, replyTo: this.quote(answered.seq) };
    this.#messages.set(message.seq, message);
    if (this.#ordered && message.seq > (this.#ordered.at(-1)?.seq ?? 0)) this.#ordered.push(message);
    else this.#ordered = undefined;
  }

  #dropBefore(start: number): void {
    for (const seq of this.#messages.keys()) if (seq < start) this.#messages.delete(seq);
    this.#ordered = undefined;
  }

  #begin(seq: number): number {
    this.last = seq - 1;
    this.hasOlder = seq > 1;
    return seq;
  }

  /** Move `last` over messages that are here already. */
  #close(): void {
    while (this.#messages.has(this.last + 1)) this.last++;
  }
}
