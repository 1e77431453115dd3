import type { SendOptions } from './api.js';
import type { Message } from './contract.js';
import { Drafts, type Draft } from './drafts.js';
import { asChatError, ChatError } from './errors.js';
import { pauseMs } from './pause.js';
import type { ChatStorage } from './storage.js';
import { alone } from './tabs.js';

/** What the outbox needs from the rest of the client. */
export interface OutboxListener {
  /** Whether requests are answered. */
  isReady(): boolean;
  /** Send a draft once; rejects with a `ChatError`. */
  send(draft: Draft): Promise<Message>;
  /** A draft has come, changed or gone. */
  changed(draft: Draft): void;
  /** Whether the message of a draft is here. */
  isHere(draft: Draft): boolean;
  /** A draft is stored: by this tab or another one. */
  stored(message: Message): void;
}

/** Sends drafts: in order to each user, again and again until they are stored or refused. */
export class Outbox {
  readonly #drafts: Drafts;
  readonly #sending = new Set<string>();
  readonly #lanes = new Set<string>();
  readonly #pauses = new Set<() => void>();
  /** How many times it was opened. */
  #opened = 0;

  constructor(
    storage: ChatStorage,
    private readonly listener: OutboxListener,
  ) {
    this.#drafts = new Drafts(storage, { ...listener, read: () => this.resume() });
  }

  /** All drafts, in the order of sending. */
  get drafts(): readonly Draft[] {
    return this.#drafts.all;
  }

  /** The user is known: keep what they have written, and send what they wrote earlier. */
  identified(userId: string): Promise<void> {
    return this.#drafts.identified(userId);
  }

  /** Hear the other tabs. */
  listen(): void {
    this.#opened++;
    this.#drafts.listen();
  }

  /** Stop hearing the other tabs; resolves once everything is written. */
  async close(): Promise<void> {
    const opened = this.#opened;
    await this.#drafts.written;
    // Unless it was opened again meanwhile.
    if (opened === this.#opened) this.#drafts.close();
  }

  /** Add a message, and send it as soon as possible. */
  add(to: string, text: string, chatId?: string, options?: SendOptions): Draft {
    const draft = this.#drafts.add(to, text, chatId, options);
    void this.#send(draft.lane);
    return draft;
  }

  /** Send a failed message again, after those that were written since. */
  retry(clientId: string): void {
    const draft = this.#drafts.get(clientId);
    if (draft?.isFailed) void this.#send(this.#drafts.renew(draft).lane);
  }

  /** Forget a message: it is stored. */
  remove(clientId: string): void {
    this.#drafts.remove(clientId, true);
  }

  /** Forget a message, unless it is on its way. */
  discard(clientId: string): void {
    if (!this.#sending.has(clientId)) this.#drafts.remove(clientId, false);
  }

  /** There is a connection: send what waits. */
  resume(): void {
    for (const lane of new Set(this.drafts.map((draft) => draft.lane))) void this.#send(lane);
  }

  /** The connection is new, or gone: end all pauses but those that the server has asked for. */
  wake(): void {
    for (const end of this.#pauses) end();
  }

  /** Send what waits in a lane, unless that is going on. */
  async #send(lane: string): Promise<void> {
    if (!this.#drafts.userId || this.#lanes.has(lane)) return;
    this.#lanes.add(lane);
    try {
      for (let tries = 0; this.listener.isReady() && this.#drafts.first(lane); ) {
        const first = this.#drafts.first(lane);
        const error = await alone(`${this.#drafts.userId}/${lane}`, () => this.#drain(lane));
        if (!error || error.code === 'disconnected') continue;
        tries = first === this.#drafts.first(lane) ? tries + 1 : 0;
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
    await this.#drafts.read();
    for (let draft = this.#drafts.first(lane); draft && this.listener.isReady(); draft = this.#drafts.first(lane)) {
      const result = await this.#attempt(draft);
      if (result instanceof ChatError) {
        if (result.retryable) return result;
        this.#fail(draft.clientId, result);
      } else {
        this.listener.stored(result);
        this.remove(draft.clientId);
        this.#drafts.tellStored(result);
      }
      await this.#drafts.written;
    }
    return undefined;
  }

  async #attempt(draft: Draft): Promise<Message | ChatError> {
    this.#sending.add(draft.clientId);
    try {
      return await this.listener.send(draft);
    } catch (error) {
      return asChatError(error);
    } finally {
      this.#sending.delete(draft.clientId);
    }
  }

  #fail(clientId: string, error: ChatError): void {
    const draft = this.#drafts.get(clientId);
    if (draft) this.#drafts.put({ ...draft, isFailed: true, error });
  }
}
