import type { Socket } from 'socket.io-client';
import type { WireEvent } from './api.js';
import type { Ack, ClientToServerEvents, ErrorAck, Payload } from './contract.js';
import { ChatError, failureIn } from './errors.js';
import { pauseMs, sleep } from './pause.js';

/** A little longer than the server takes to say that it has no answer. */
const ANSWER_MS = 15_000;
/** Who has to wait for longer than this, as after too many reports, is told so instead. */
const PATIENCE_MS = 600_000;

type Command = keyof ClientToServerEvents;
/** Hears what goes over the wire. */
export type Wire = (event: Omit<WireEvent, 'at'>) => void;

/** Requests to the server, over connections that come and go. */
export class Requests {
  #socket: Socket | undefined;
  #refusal: ChatError | undefined;
  readonly #inFlight = new Set<(error: ChatError) => void>();
  readonly #waiting = new Set<{ resolve: () => void; reject: (error: ChatError) => void }>();

  constructor(private readonly wire: Wire) {}

  /** Whether requests are answered. */
  get ready(): boolean {
    return this.#socket !== undefined;
  }

  /** Send a request once. Rejects with a `ChatError`. */
  request<E extends Command>(event: E, payload: Payload<E>): Promise<Ack<E>> {
    return new Promise((resolve, reject) => {
      if (!this.#socket) return reject(new ChatError('disconnected'));
      this.#inFlight.add(reject);
      this.wire({ direction: 'out', name: event, data: event === 'refresh_token' ? {} : payload });
      this.#socket.timeout(ANSWER_MS).emit(event, payload, (late: Error | null, answer: Ack<E> | ErrorAck) => {
        this.#inFlight.delete(reject);
        if (late) return reject(new ChatError('timeout'));
        this.wire({ direction: 'in', name: event, data: undefined, ack: answer });
        if (answer.success) resolve(answer as Ack<E>);
        else reject(failureIn(answer));
      });
    });
  }

  /** Send a request as often as it takes: waits while offline, and retries what may succeed later. */
  async call<E extends Command>(event: E, payload: Payload<E>): Promise<Ack<E>> {
    for (let tries = 0; ; tries++) {
      await this.#whenReady();
      try {
        return await this.request(event, payload);
      } catch (error) {
        const { retryable, retryAfterMs = 0 } = error as ChatError;
        if (!retryable || retryAfterMs > PATIENCE_MS) throw error;
        if ((error as ChatError).code !== 'disconnected') await sleep(pauseMs(tries, error as ChatError));
      }
    }
  }

  /** Send an event that needs no answer, if there is a connection. */
  tell<E extends Command>(event: E, payload: Payload<E>): void {
    if (!this.#socket) return;
    this.wire({ direction: 'out', name: event, data: payload });
    this.#socket.volatile.emit(event, payload);
  }

  /** Requests are answered from now on. */
  protected begin(socket: Socket): void {
    this.#socket = socket;
    this.#refusal = undefined;
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** The connection is lost: requests that were sent are not answered. */
  protected end(error: ChatError): void {
    this.#socket = undefined;
    for (const reject of this.#inFlight) reject(error);
    this.#inFlight.clear();
  }

  /** Nothing that waits for a connection will get one, nor will what comes later, if the refusal is to last. */
  protected refuse(error: ChatError, isToLast: boolean): void {
    this.#refusal = isToLast ? error : undefined;
    for (const { reject } of this.#waiting) reject(error);
    this.#waiting.clear();
  }

  /** What was refused may be tried again. */
  protected allow(): void {
    this.#refusal = undefined;
  }

  #whenReady(): Promise<void> {
    if (this.#socket) return Promise.resolve();
    if (this.#refusal) return Promise.reject(this.#refusal);
    return new Promise((resolve, reject) => this.#waiting.add({ resolve, reject }));
  }
}
