import type { SendOptions } from './api.js';
import type { Message } from './contract.js';
import type { ChatError } from './errors.js';
import { foldName, randomId } from './identity.js';
import { discarded, isDone, isNewer, keep, restore, stored, type Done, type Entry } from './kept.js';
import { within } from './pause.js';
import type { ChatStorage } from './storage.js';
import { openTabs, type Tabs } from './tabs.js';

const TOGETHER_MS = 20;
/** A storage that takes longer counts as one that fails: messages are sent all the same. */
const STUCK_MS = 10_000;

/** A message that is not stored by the server, as far as anybody knows. Immutable. */
export interface Draft extends Readonly<SendOptions> {
  readonly clientId: string;
  /** The recipient, as the app spelled it. */
  readonly to: string;
  /** The recipient's folded name: drafts with the same one are sent one after the other. */
  readonly lane: string;
  /** The chat it was written in, if there was one: a name may belong to somebody else later. */
  readonly chatId?: string;
  readonly text: string;
  readonly createdAt: string;
  /** Place in the order of sending: milliseconds since the epoch, or a little more. */
  readonly order: number;
  /** Refused for good; waits for `retry` or `discard`. */
  readonly isFailed: boolean;
  readonly error?: ChatError;
}

/** What drafts tell the rest of the client. */
export interface DraftsListener {
  /** A draft has come, changed or gone. */
  changed(draft: Draft): void;
  /** Whether the message of a draft is here: the server may tell of it before the storage does. */
  isHere(draft: Draft): boolean;
  /** Another tab has heard that a message is stored. */
  stored(message: Message): void;
  /** Other tabs have changed something, or what was kept has been read. */
  read(): void;
}

/** The drafts of one user: in memory, in the storage, and the same in all tabs of a browser. */
export class Drafts {
  /** Whose they are, once it is known. */
  userId: string | undefined;
  readonly #all = new Map<string, Draft>();
  #sorted: readonly Draft[] | undefined;
  #tabs: Tabs | undefined;
  /** What is done with, as long as it is kept: another tab may bring it back. */
  readonly #done = new Map<string, Done>();
  /** What is to be written. */
  readonly #unwritten = new Map<string, Entry>();
  #isReadDue = false;
  /** One read or write after the other, so that a read finds what was written before. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly storage: ChatStorage,
    private readonly listener: DraftsListener,
  ) {}

  /** All drafts, in the order of sending. */
  get all(): readonly Draft[] {
    return (this.#sorted ??= [...this.#all.values()].sort((a, b) => a.order - b.order));
  }

  /** Resolves once everything is written that is to be written now. */
  get written(): Promise<unknown> {
    return this.#queue;
  }

  /** Return a draft, if it is one. */
  get(clientId: string): Draft | undefined {
    return this.#all.get(clientId);
  }

  /** The next draft of a lane that is to be sent. */
  first(lane: string): Draft | undefined {
    return this.all.find((draft) => !draft.isFailed && draft.lane === lane);
  }

  /** The user is known: keep what they have written, and find what they wrote earlier. */
  async identified(userId: string): Promise<void> {
    this.close();
    if (this.userId && this.userId !== userId) {
      this.#all.clear();
      this.#done.clear();
      this.#sorted = undefined;
    }
    this.userId = userId;
    this.listen();
    await this.read();
    this.listener.read();
  }

  /** Hear the other tabs. */
  listen(): void {
    if (!this.userId || this.#tabs) return;
    this.#tabs = openTabs(this.userId, (news) => {
      if (news.type === 'stored') this.listener.stored(news.message);
      else this.#readSoon();
    });
    this.#readSoon();
  }

  /** Hear the other tabs no more. */
  close(): void {
    this.#tabs?.close();
    this.#tabs = undefined;
  }

  /** Add a message at the end. */
  add(to: string, text: string, chatId?: string, { data, replyTo }: SendOptions = {}): Draft {
    const [clientId, lane, createdAt] = [randomId(), foldName(to), new Date().toISOString()];
    return this.put({ clientId, to, lane, chatId, text, data, replyTo, createdAt, order: this.#next(), isFailed: false });
  }

  /** Put a failed draft at the end, to be sent again. */
  renew(draft: Draft): Draft {
    return this.put({ ...draft, isFailed: false, error: undefined, order: this.#next() });
  }

  /** Add or replace a draft. */
  put(draft: Draft): Draft {
    this.#set(draft);
    this.#write(keep(draft));
    return draft;
  }

  /** Forget a draft: it is stored, or the user does not want it. */
  remove(clientId: string, isStored: boolean): void {
    const draft = this.#all.get(clientId);
    if (!draft) return;
    const done = isStored ? stored(clientId) : discarded(draft);
    this.#end(done);
    this.#write(done);
  }

  /** Tell the other tabs that a message is stored. */
  tellStored(message: Message): void {
    this.#tabs?.tell({ type: 'stored', message });
  }

  /** Take over what other tabs, or this one before a reload, have kept. */
  read(): Promise<unknown> {
    return this.#run(async () => {
      const userId = this.userId;
      const entries = await this.storage.list(`outbox/${userId}/`);
      if (userId === this.userId) this.#merge(new Map(entries.map(([, value]) => [(value as Entry).clientId, value as Entry])));
    });
  }

  /** Of each message, the newest state holds, here and in the storage; and what the browser has thrown away is written again. */
  #merge(found: ReadonlyMap<string, Entry>): void {
    const now = Date.now();
    for (const { clientId, doneUntil } of this.#done.values()) if (doneUntil < now) this.#done.delete(clientId);
    for (const draft of this.all) if (!found.has(draft.clientId)) this.#writeAgain(draft);
    for (const entry of found.values()) {
      const { clientId } = entry;
      const known = this.#all.get(clientId) ?? this.#done.get(clientId);
      if (isNewer(entry, known)) this.#take(entry);
      else if (isNewer(known!, entry)) this.#writeAgain(known!);
      if (isDone(entry) && entry.doneUntil < now) this.#forget(clientId);
    }
  }

  #take(entry: Entry): void {
    this.#unwritten.delete(entry.clientId);
    if (isDone(entry)) return this.#end(entry);
    this.#done.delete(entry.clientId);
    const draft = restore(entry);
    this.#set(draft);
    if (this.listener.isHere(draft)) this.remove(draft.clientId, true);
  }

  #next(): number {
    return Math.max(Date.now(), (this.all.at(-1)?.order ?? 0) + 0.001);
  }

  #key(clientId: string): string {
    return `outbox/${this.userId}/${clientId}`;
  }

  #set(draft: Draft): void {
    this.#all.set(draft.clientId, draft);
    this.#sorted = undefined;
    this.listener.changed(draft);
  }

  #end(done: Done): void {
    const draft = this.#all.get(done.clientId);
    this.#done.set(done.clientId, done);
    if (!draft) return;
    this.#all.delete(done.clientId);
    this.#sorted = undefined;
    this.listener.changed(draft);
  }

  #writeAgain(known: Draft | Done): void {
    if (!this.#unwritten.has(known.clientId)) this.#write(isDone(known) ? known : keep(known));
  }

  /** Write the newest state of a message, and tell the other tabs. Without a storage, memory has to do. */
  #write(entry: Entry): void {
    if (!this.userId) return;
    const { clientId } = entry;
    const key = this.#key(clientId);
    this.#unwritten.set(clientId, entry);
    void this.#run(async () => {
      if (this.#unwritten.get(clientId) !== entry) return;
      this.#unwritten.delete(clientId);
      try {
        await this.storage.set(key, entry);
      } catch (error) {
        // A storage that is full can still delete.
        if (!isDone(entry)) throw error;
        await this.storage.delete(key);
      }
      this.#tabs?.tell({ type: 'drafts' });
    });
  }

  #forget(clientId: string): void {
    const key = this.#key(clientId);
    void this.#run(() => this.storage.delete(key));
  }

  #run(step: () => Promise<unknown>): Promise<unknown> {
    return (this.#queue = this.#queue.then(() => within(STUCK_MS, step())).catch(() => {}));
  }

  /** Read once for all news of a moment. */
  #readSoon(): void {
    if (this.#isReadDue) return;
    this.#isReadDue = true;
    setTimeout(() => {
      this.#isReadDue = false;
      void this.read().then(() => this.listener.read());
    }, TOGETHER_MS);
  }
}
