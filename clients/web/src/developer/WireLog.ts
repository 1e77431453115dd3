import type { Chat, WireEvent } from '@bbgram/chat';

const MOST = 500;

export interface LoggedEvent extends WireEvent {
  id: number;
}

/** The last events that went over the wire, newest first, as a store for `useSyncExternalStore`. */
export class WireLog {
  #events: readonly LoggedEvent[] = [];
  #count = 0;
  readonly #listeners = new Set<() => void>();
  readonly close: () => void;

  constructor(chat: Chat) {
    this.close = chat.onEvent((event) => this.#set([{ ...event, id: ++this.#count }, ...this.#events.slice(0, MOST - 1)]));
  }

  readonly get = (): readonly LoggedEvent[] => this.#events;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly clear = (): void => this.#set([]);

  #set(events: readonly LoggedEvent[]): void {
    this.#events = events;
    for (const listener of this.#listeners) listener();
  }
}
