import { io, type Socket } from 'socket.io-client';
import type { ChatOptions, Connection, ConnectionState } from './api.js';
import type { ConnectionSuccess, ErrorEvent } from './contract.js';
import { ChatError, failureIn } from './errors.js';
import { subjectOf } from './identity.js';
import { pauseMs, sleep } from './pause.js';
import { Requests, type Wire } from './requests.js';

/** A connection that lasted this long has worked: the next loss begins with a short pause. */
const WORKED_MS = 10_000;
/** The server has closed this socket because the user has too many: another one would only replace the next. */
const TOO_MANY_SOCKETS_MS = 30_000;

/** Answers an event that asks for it. */
export type Answer = (value: unknown) => void;

/** What a connection tells the rest of the client. */
export interface ConnectionListener {
  /** The user is known, or is another one than before. */
  identified(userId: string): void;
  /** Signed in: requests are answered from now on. */
  connected(): void;
  /** The snapshot has changed. */
  changed(): void;
  /** An event has arrived. */
  received(name: string, payload: unknown, answer?: Answer): void;
  /** Something went over the wire. */
  wire: Wire;
}

/** The socket, kept connected: which token it gives, and when it comes back. */
export class ServerConnection extends Requests {
  /** An immutable snapshot. */
  snapshot: Connection = { state: 'connecting' };

  #socket: Socket | undefined;
  #isWanted = false;
  #isHeldOffline = false;
  #tokenForNext: Promise<string> | undefined;
  #attempt = 0;
  #tries = 0;
  #connectedAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #warning: ChatError | undefined;

  constructor(
    private readonly options: ChatOptions,
    private readonly listener: ConnectionListener,
  ) {
    super(listener.wire);
  }

  /** Connect, and stay connected. */
  connect(): void {
    if (this.#isWanted && this.snapshot.state !== 'refused') return;
    this.#isWanted = true;
    this.#tries = 0;
    this.allow();
    this.#watchBrowser(true);
    this.#become('connecting');
    // Asked for before there is a connection, so that unsent messages are shown while offline.
    this.#tokenForNext = this.#token();
    this.#tokenForNext.then((token) => this.#identifyBy(token), () => {});
    if (this.#isHeldOffline) this.#become('offline');
    else this.#open();
  }

  /** Disconnect, until `connect` is called again. */
  close(): void {
    this.#isWanted = false;
    this.#watchBrowser(false);
    this.#leave(new ChatError('closed'));
    this.refuse(new ChatError('closed'), false);
  }

  /** Stay offline until told otherwise. */
  setOnline(online: boolean): void {
    this.#isHeldOffline = !online;
    if (!online) this.#leave(new ChatError('disconnected'));
    else if (this.#isWanted && this.snapshot.state === 'offline') this.#open();
  }

  /** Cut the connection, as a bad network does. */
  drop(): void {
    this.#socket?.io.engine?.close();
  }

  /** Everything that was missed is here. */
  becomeLive(): void {
    if (this.snapshot.state === 'syncing') this.#become('live', this.#warning);
  }

  /** What was missed cannot be had for now. */
  becomeStuck(error: ChatError): void {
    if (this.snapshot.state === 'syncing') this.#become('syncing', error);
  }

  /** Replace the token of the connection by the newest one. */
  async refresh(): Promise<void> {
    if (this.snapshot.state === 'refused') return this.connect();
    if (!this.ready) return;
    const token = await this.#token();
    if (!this.#isFor(token)) return this.#connectAnew();
    const { username } = await this.request('refresh_token', { token });
    this.#warning = undefined;
    this.#become(this.snapshot.state, undefined, username);
  }

  async #token(): Promise<string> {
    try {
      return await this.options.token();
    } catch (cause) {
      throw new ChatError('token_failed', undefined, undefined, { cause });
    }
  }

  /** Whether a token is for the user of this connection, as far as one can see. */
  #isFor(token: string): boolean {
    return (subjectOf(token) ?? this.snapshot.userId) === this.snapshot.userId;
  }

  /** Learn who the user is before the server says so; never while somebody else is signed in. */
  #identifyBy(token: string): void {
    const userId = subjectOf(token);
    if (userId && this.#isWanted && !this.ready) this.#identify(userId);
  }

  #identify(userId: string, username?: string): void {
    const isSame = userId === this.snapshot.userId;
    this.snapshot = { ...this.snapshot, userId, username: username ?? (isSame ? this.snapshot.username : undefined) };
    if (!isSame) this.listener.identified(userId);
    this.listener.changed();
  }

  #open(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#socket ??= this.#makeSocket();
    this.#socket.connect();
  }

  #makeSocket(): Socket {
    const socket = io(this.options.url, {
      ...this.options.socket,
      autoConnect: false,
      forceNew: true,
      auth: (give) => void this.#authenticate(give),
    });
    socket.io.on('close', () => this.#attempt++);
    socket.on('connect_error', (error) => this.#failed(error as Error & { data?: ErrorEvent }));
    socket.on('disconnect', (reason) => this.#lost(reason));
    socket.onAny((name: string, payload: unknown, ack?: Answer) => this.#received(name, payload, ack));
    return socket;
  }

  async #authenticate(give: (auth: object) => void): Promise<void> {
    const attempt = this.#attempt;
    const token = this.#tokenForNext ?? this.#token();
    this.#tokenForNext = undefined;
    try {
      const found = await token;
      // A token for a connection that is gone by now must not be sent on the next one.
      if (attempt !== this.#attempt) return;
      this.#identifyBy(found);
      give({ token: found });
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#socket?.disconnect();
      this.#comeBack(error as ChatError);
    }
  }

  #received(name: string, payload: unknown, ack?: Answer): void {
    this.listener.wire({ direction: 'in', name, data: payload });
    const answer =
      ack &&
      ((value: unknown) => {
        ack(value);
        this.listener.wire({ direction: 'out', name, data: undefined, ack: value });
      });
    if (name === 'connection_success') this.#signedIn(payload as ConnectionSuccess);
    else if (name === 'error') this.#warned(payload as ErrorEvent);
    this.listener.received(name, payload, answer);
  }

  #signedIn({ userId, username }: ConnectionSuccess): void {
    this.#identify(userId, username);
    this.#connectedAt = Date.now();
    this.#warning = undefined;
    this.#become('syncing');
    this.begin(this.#socket!);
    this.listener.connected();
  }

  /** An error that is about the connection and not about a request. */
  #warned(event: ErrorEvent): void {
    if (event.event) return;
    if (event.code === 'token_expired') return void this.#refreshInTime();
    this.#warning = failureIn(event);
    this.#become(this.snapshot.state, this.#warning);
  }

  async #refreshInTime(): Promise<void> {
    const connectedAt = this.#connectedAt;
    for (let tries = 0; this.ready && connectedAt === this.#connectedAt; tries++) {
      try {
        return await this.refresh();
      } catch (error) {
        // Otherwise the server closes the connection, and the next one shows what is wrong.
        if (!(error as ChatError).retryable) return;
        await sleep(pauseMs(tries, error as ChatError));
      }
    }
  }

  /** The connection could not be made. */
  #failed(error: Error & { data?: ErrorEvent }): void {
    this.#tokenForNext = undefined;
    if (!error.data?.code) this.#become('offline', new ChatError('disconnected', undefined, undefined, { cause: error }));
    else this.#comeBack(failureIn(error.data));
  }

  #lost(reason: string): void {
    if (Date.now() - this.#connectedAt > WORKED_MS) this.#tries = 0;
    const error = new ChatError('disconnected');
    this.end(error);
    if (reason === 'io server disconnect') this.#comeBack(this.#warning?.code === 'rate_limited' ? this.#warning : error);
    else if (reason !== 'io client disconnect') this.#become('offline', error);
  }

  /** Connect again later, which Socket.IO does not do by itself after a refusal; unless it is for good. */
  #comeBack(error: ChatError): void {
    if (!this.#isWanted || this.#isHeldOffline) return;
    const isReplaced = error.code === 'rate_limited' && error.retryAfterMs === undefined;
    if (!error.retryable) {
      this.#become('refused', error);
      return this.refuse(error, true);
    }
    this.#become('offline', error);
    this.#timer = setTimeout(() => this.#open(), pauseMs(this.#tries++, error) + (isReplaced ? TOO_MANY_SOCKETS_MS : 0));
  }

  /** Somebody else is signed in to the app: a connection belongs to one user. */
  #connectAnew(): void {
    this.#leave(new ChatError('disconnected'));
    this.#open();
  }

  #leave(error: ChatError): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#attempt++;
    this.#socket?.disconnect();
    this.end(error);
    this.#become('offline', error);
  }

  #become(state: ConnectionState, error?: ChatError, username = this.snapshot.username): void {
    this.snapshot = { state, error, userId: this.snapshot.userId, username };
    this.listener.changed();
  }

  #watchBrowser(isWatched: boolean): void {
    if (typeof window === 'undefined' || !window.addEventListener) return;
    const change = isWatched ? 'addEventListener' : 'removeEventListener';
    window[change]('online', this.#hurry);
    document[change]('visibilitychange', this.#hurry);
  }

  /** The network is back, or the user: do not wait for the next try. */
  readonly #hurry = (): void => {
    const { state, error } = this.snapshot;
    if (state !== 'offline' || this.#isHeldOffline || document.visibilityState === 'hidden') return;
    if (error?.retryAfterMs || error?.code === 'rate_limited') return;
    this.#socket?.disconnect();
    this.#open();
  };
}
