import type { Message } from './contract.js';
import { ChatError, type ChatErrorCode } from './errors.js';
import { foldName, randomId } from './identity.js';
import type { ChatStorage } from './storage.js';
import { openTabs, type Tabs } from './tabs.js';

const TOGETHER_MS = 20;

/** A message that is not stored by the server, as far as anybody knows. Immutable. */
export interface Draft {
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

/** A draft as it is kept: errors do not survive a structured clone. */
type Kept = Omit<Draft, 'error'> & { error?: { code: ChatErrorCode; message: string } };

/** What drafts tell the rest of the client. */
export interface DraftsListener {
  /** A draft has come, changed or gone. */
  changed(draft: Draft): void;
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
  /** Drafts that the storage has; the others exist only here. */
  readonly #kept = new Set<string>();
  /** Drafts that are done with, which a slow answer of the storage must not bring back. */
  readonly #done = new Set<string>();
  #isReadDue = false;
  #writes: Promise<unknown> = Promise.resolve();

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
    return this.#writes;
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
      this.#kept.clear();
      this.#sorted = undefined;
    }
    this.userId = userId;
    this.listen();
    for (const draft of this.all) if (!this.#kept.has(draft.clientId)) this.#keep(draft);
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
  add(to: string, text: string, chatId?: string): Draft {
    const [clientId, lane, createdAt] = [randomId(), foldName(to), new Date().toISOString()];
    return this.put({ clientId, to, lane, chatId, text, createdAt, order: this.#next(), isFailed: false });
  }

  /** Put a failed draft at the end, to be sent again. */
  renew(draft: Draft): Draft {
    return this.put({ ...draft, isFailed: false, error: undefined, order: this.#next() });
  }

  /** Add or replace a draft. */
  put(draft: Draft): Draft {
    this.#set(draft);
    this.#keep(draft);
    return draft;
  }

  /** Forget a draft. */
  remove(clientId: string): void {
    const draft = this.#all.get(clientId);
    if (!draft) return;
    this.#done.add(clientId);
    this.#drop(draft);
    if (!this.userId) return;
    const key = this.#key(clientId);
    this.#write(() => this.storage.delete(key));
  }

  /** Tell the other tabs that a message is stored. */
  tellStored(message: Message): void {
    this.#tabs?.tell({ type: 'stored', message });
  }

  /** Take over what other tabs, or this one before a reload, have kept. */
  async read(): Promise<void> {
    const userId = this.userId;
    const before = new Set(this.#kept);
    let entries;
    try {
      entries = await this.storage.list(`outbox/${userId}/`);
    } catch {
      return;
    }
    if (userId !== this.userId) return;
    const found = new Map(entries.map(([, value]) => [(value as Kept).clientId, value as Kept]));
    for (const clientId of before) {
      const draft = this.#all.get(clientId);
      if (draft && !found.has(clientId)) this.#drop(draft);
    }
    for (const kept of found.values()) {
      const known = this.#all.get(kept.clientId);
      const isSame = known && known.isFailed === kept.isFailed && known.order === kept.order;
      if (isSame || this.#done.has(kept.clientId) || (known && !before.has(kept.clientId))) continue;
      this.#kept.add(kept.clientId);
      this.#set({ ...kept, error: kept.error && new ChatError(kept.error.code, kept.error.message) });
    }
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

  #drop(draft: Draft): void {
    this.#all.delete(draft.clientId);
    this.#kept.delete(draft.clientId);
    this.#sorted = undefined;
    this.listener.changed(draft);
  }

  #keep(draft: Draft): void {
    if (!this.userId) return;
    const { error, ...rest } = draft;
    const kept: Kept = error ? { ...rest, error: { code: error.code, message: error.message } } : rest;
    const key = this.#key(draft.clientId);
    this.#kept.delete(draft.clientId);
    this.#write(async () => {
      await this.storage.set(key, kept);
      if (this.#all.get(draft.clientId) === draft) this.#kept.add(draft.clientId);
    });
  }

  /** Change the storage, one change after the other, and tell the other tabs. Without a storage, memory has to do. */
  #write(change: () => Promise<void>): void {
    this.#writes = this.#writes
      .then(change)
      .then(() => this.#tabs?.tell({ type: 'drafts' }))
      .catch(() => {});
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
