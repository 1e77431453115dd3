import type { Message } from './contract.js';
import { ChatError, type ChatErrorCode } from './errors.js';
import { foldName, randomId } from './identity.js';
import { pauseMs } from './pause.js';
import type { ChatStorage } from './storage.js';
import { alone, openTabs, type Tabs } from './tabs.js';

const TOGETHER_MS = 20;

/** A message that is not stored by the server, as far as anybody knows. Immutable. */
export interface Draft {
  readonly clientId: string;
  /** The recipient, as the app spelled it. */
  readonly to: string;
  /** The recipient's folded name: drafts with the same one are sent one after the other. */
  readonly lane: string;
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

/** What the outbox needs from the rest of the client. */
export interface OutboxListener {
  /** Whether requests are answered. */
  isReady(): boolean;
  /** Send a draft once; rejects with a `ChatError`. */
  send(draft: Draft): Promise<Message>;
  /** A draft has come, changed or gone. */
  changed(draft: Draft): void;
  /** A draft is stored: by this tab or another one. */
  stored(message: Message): void;
}

/** Unsent messages: kept in the storage, sent in order to each user, again and again until they are stored or refused. */
export class Outbox {
  #drafts = new Map<string, Draft>();
  #sorted: readonly Draft[] | undefined;
  #userId: string | undefined;
  #tabs: Tabs | undefined;
  /** Drafts that the storage has; the others exist only here. */
  readonly #kept = new Set<string>();
  /** Drafts that are done with, which a slow answer of the storage must not bring back. */
  readonly #done = new Set<string>();
  readonly #sending = new Set<string>();
  readonly #lanes = new Set<string>();
  readonly #pauses = new Set<() => void>();
  #isReadDue = false;
  #writes: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly storage: ChatStorage,
    private readonly listener: OutboxListener,
  ) {}

  /** All drafts, in the order of sending. */
  get drafts(): readonly Draft[] {
    return (this.#sorted ??= [...this.#drafts.values()].sort((a, b) => a.order - b.order));
  }

  /** The user is known: keep what they have written, and find what they wrote earlier. */
  async identified(userId: string): Promise<void> {
    this.#tabs?.close();
    this.#tabs = undefined;
    if (this.#userId && this.#userId !== userId) {
      this.#drafts.clear();
      this.#kept.clear();
      this.#sorted = undefined;
    }
    this.#userId = userId;
    this.listen();
    for (const draft of this.drafts) if (!this.#kept.has(draft.clientId)) this.#keep(draft);
    await this.#read();
    this.resume();
  }

  /** Hear the other tabs. */
  listen(): void {
    if (!this.#userId || this.#tabs) return;
    this.#tabs = openTabs(this.#userId, (news) => {
      if (news.type === 'stored') this.listener.stored(news.message);
      else this.#readSoon();
    });
    this.#readSoon();
  }

  /** Stop hearing the other tabs; resolves once everything is written. */
  async close(): Promise<void> {
    await this.#writes;
    this.#tabs?.close();
    this.#tabs = undefined;
  }

  /** Add a message, and send it as soon as possible. */
  add(to: string, text: string): Draft {
    const now = new Date();
    const [clientId, lane, createdAt] = [randomId(), foldName(to), now.toISOString()];
    const draft: Draft = { clientId, to, lane, text, createdAt, order: this.#next(), isFailed: false };
    this.#put(draft);
    this.#keep(draft);
    void this.#send(lane);
    return draft;
  }

  /** Send a failed message again, after those that were written since. */
  retry(clientId: string): void {
    const draft = this.#drafts.get(clientId);
    if (!draft?.isFailed) return;
    const again = { ...draft, isFailed: false, error: undefined, order: this.#next() };
    this.#put(again);
    this.#keep(again);
    void this.#send(draft.lane);
  }

  /** Forget a message: it is stored. */
  remove(clientId: string): void {
    const draft = this.#drafts.get(clientId);
    if (!draft) return;
    this.#done.add(clientId);
    this.#drop(draft);
    if (this.#userId) this.#write(() => this.storage.delete(this.#key(clientId)));
  }

  /** Forget a message, unless it is on its way. */
  discard(clientId: string): void {
    if (!this.#sending.has(clientId)) this.remove(clientId);
  }

  /** There is a connection: send what waits. */
  resume(): void {
    for (const lane of new Set(this.drafts.map((draft) => draft.lane))) void this.#send(lane);
  }

  /** The connection is new, or gone: end all pauses but those that the server has asked for. */
  wake(): void {
    for (const end of this.#pauses) end();
  }

  #next(): number {
    return Math.max(Date.now(), (this.drafts.at(-1)?.order ?? 0) + 0.001);
  }

  #key(clientId: string): string {
    return `outbox/${this.#userId}/${clientId}`;
  }

  #put(draft: Draft): void {
    this.#drafts.set(draft.clientId, draft);
    this.#sorted = undefined;
    this.listener.changed(draft);
  }

  #drop(draft: Draft): void {
    this.#drafts.delete(draft.clientId);
    this.#kept.delete(draft.clientId);
    this.#sorted = undefined;
    this.listener.changed(draft);
  }

  #keep({ error, ...draft }: Draft): void {
    if (!this.#userId) return;
    this.#kept.delete(draft.clientId);
    const kept: Kept = error ? { ...draft, error: { code: error.code, message: error.message } } : draft;
    const key = this.#key(draft.clientId);
    this.#write(async () => {
      await this.storage.set(key, kept);
      if (this.#drafts.has(draft.clientId)) this.#kept.add(draft.clientId);
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
      void this.#read().then(() => this.resume());
    }, TOGETHER_MS);
  }

  /** Take over what other tabs, or this one before a reload, have kept. */
  async #read(): Promise<void> {
    const userId = this.#userId;
    const before = new Set(this.#kept);
    let entries;
    try {
      entries = await this.storage.list(`outbox/${userId}/`);
    } catch {
      return;
    }
    if (userId !== this.#userId) return;
    const found = new Map(entries.map(([, value]) => [(value as Kept).clientId, value as Kept]));
    for (const clientId of before) {
      const draft = this.#drafts.get(clientId);
      if (draft && !found.has(clientId)) this.#drop(draft);
    }
    for (const kept of found.values()) {
      const known = this.#drafts.get(kept.clientId);
      const isSame = known && known.isFailed === kept.isFailed && known.order === kept.order;
      if (isSame || this.#done.has(kept.clientId) || (known && !before.has(kept.clientId))) continue;
      this.#kept.add(kept.clientId);
      this.#put({ ...kept, error: kept.error && new ChatError(kept.error.code, kept.error.message) });
    }
  }

  /** Send what waits in a lane, unless that is going on. */
  async #send(lane: string): Promise<void> {
    if (!this.#userId || this.#lanes.has(lane)) return;
    this.#lanes.add(lane);
    try {
      for (let tries = 0; this.listener.isReady() && this.#first(lane); ) {
        const first = this.#first(lane);
        const error = await alone(`${this.#userId}/${lane}`, () => this.#drain(lane));
        if (!error || error.code === 'disconnected') continue;
        tries = first === this.#first(lane) ? tries + 1 : 0;
        await this.#pause(pauseMs(tries, error), error.retryAfterMs === undefined);
      }
    } finally {
      // At once: a message that is added in the next moment must find the lane free.
      this.#lanes.delete(lane);
    }
  }

  #pause(ms: number, canEnd: boolean): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#pauses.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      if (canEnd) this.#pauses.add(end);
    });
  }

  /** Send until nothing waits; return what to wait for otherwise. One tab at a time does this. */
  async #drain(lane: string): Promise<ChatError | undefined> {
    await this.#read();
    for (let draft = this.#first(lane); draft && this.listener.isReady(); draft = this.#first(lane)) {
      const result = await this.#attempt(draft);
      if (result instanceof ChatError) {
        if (result.retryable) return result;
        this.#fail(draft.clientId, result);
      } else {
        this.listener.stored(result);
        this.remove(draft.clientId);
        this.#tabs?.tell({ type: 'stored', message: result });
      }
      await this.#writes;
    }
    return undefined;
  }

  async #attempt(draft: Draft): Promise<Message | ChatError> {
    this.#sending.add(draft.clientId);
    try {
      return await this.listener.send(draft);
    } catch (error) {
      return error instanceof ChatError ? error : new ChatError('internal', String(error), undefined, { cause: error });
    } finally {
      this.#sending.delete(draft.clientId);
    }
  }

  #fail(clientId: string, error: ChatError): void {
    const draft = this.#drafts.get(clientId);
    if (!draft) return;
    const failed = { ...draft, isFailed: true, error };
    this.#put(failed);
    this.#keep(failed);
  }

  #first(lane: string): Draft | undefined {
    return this.drafts.find((draft) => !draft.isFailed && draft.lane === lane);
  }
}
