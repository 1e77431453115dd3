import type { Box } from './api.js';
import type { ServerConnection } from './connection.js';
import type { Ack, Cursor } from './contract.js';
import { asChatError, type ChatError } from './errors.js';
import { foldName } from './identity.js';
import { pauseMs, sleep } from './pause.js';
import type { ChatRecord } from './record.js';
import type { ChatStore } from './store.js';
import type { Page } from './timeline.js';

/** How long a missing message may take to come by itself. */
const HOLE_MS = 1_500;
const LIST_SOON_MS = 200;
const PAGE = 50;
const LARGEST_PAGE = 100;
/** A request holds about 700 cursors. */
const CURSORS = 500;
/** An open chat that is further behind begins anew with its newest page; the rest can be loaded as history. */
const FARTHEST_BEHIND = 500;
/** Pauses after an error that is final begin with the longest. */
const MANY_TRIES = 10;

/** Keeps the store complete: asks for what was missed, for holes and for history. */
export class Synchronizer {
  /** What to ask the list of chats for changes since. */
  #since: string | null = null;
  #round = 0;
  #holes = new Map<ChatRecord, ReturnType<typeof setTimeout>>();
  #isListDue = false;
  #listTimer: ReturnType<typeof setTimeout> | undefined;
  #pending = new Map<string, Promise<unknown>>();

  constructor(
    private readonly connection: ServerConnection,
    private readonly store: ChatStore,
  ) {}

  /** Get everything that was missed; try again until it is here or the connection is lost. */
  async catchUp(): Promise<void> {
    const round = ++this.#round;
    for (let tries = 0; round === this.#round && this.connection.ready; tries++) {
      try {
        await this.#catchUpOnce();
        if (round !== this.#round) return;
        this.connection.becomeLive();
        if (this.#isListDue) this.listSoon();
        return;
      } catch (cause) {
        const error = asChatError(cause);
        if (error.code === 'disconnected' || error.code === 'closed') return;
        // Not even what is final ends it: the server may be fixed while the connection lasts.
        if (!error.retryable) this.connection.becomeStuck(error);
        await sleep(pauseMs(error.retryable ? tries : MANY_TRIES, error));
      }
    }
  }

  /** Stop everything: nothing that was asked for is wanted any more. */
  stop(): void {
    this.#round++;
    clearTimeout(this.#listTimer);
    this.#listTimer = undefined;
    for (const timer of this.#holes.values()) clearTimeout(timer);
    this.#holes.clear();
    this.#pending.clear();
  }

  /** Forget how far the list is: somebody else has signed in. */
  reset(): void {
    this.stop();
    this.#since = null;
  }

  /** Messages of a chat are missing: ask for them, unless they come soon. */
  holeFound(record: ChatRecord): void {
    if (this.#holes.has(record)) return;
    const timer = setTimeout(() => void this.#fillLater(record), HOLE_MS);
    this.#holes.set(record, timer);
  }

  /** A chat has appeared that is not in the list yet: list what is new. */
  listSoon(): void {
    this.#isListDue = this.connection.snapshot.state !== 'live';
    if (this.#listTimer || this.#isListDue) return;
    this.#listTimer = setTimeout(() => {
      this.#listTimer = undefined;
      // If it fails, the next connect lists them.
      void this.#listChanges().catch(() => {});
    }, LIST_SOON_MS);
  }

  /** Open a chat: its newest page, its peer, and from now on everything new in it. */
  open(name: string): Promise<ChatRecord> {
    return this.#once(`open/${foldName(name)}`, async () => {
      const [record, page] = await (this.store.byId(name) ? this.#read(name) : this.#join(name));
      record.isOpen = true;
      record.timeline.takeNewest(page);
      record.change ??= page.change;
      this.store.tellStored(page.messages);
      this.store.touch(record);
      return record;
    });
  }

  async #join(username: string): Promise<[ChatRecord, Page]> {
    const ack = await this.connection.call('join_chat', { username, limit: PAGE });
    return [this.store.takeJoin(username, ack), ack];
  }

  async #read(chatId: string): Promise<[ChatRecord, Page]> {
    const record = this.store.byId(chatId)!;
    return [record, await this.#ask(chatId, this.connection.call('get_messages', { chatId, limit: PAGE }))];
  }

  /** Load the page before the oldest message that is here. */
  loadOlder(record: ChatRecord): Promise<void> {
    return this.#once(`older/${record.chatId}`, async () => {
      const { chatId, timeline } = record;
      const before = timeline.first;
      if (!chatId || before === undefined || !timeline.hasOlder) return;
      record.isLoadingOlder = true;
      this.store.touch(record);
      try {
        timeline.prepend(before, await this.#ask(chatId, this.connection.call('get_messages', { chatId, before, limit: PAGE })));
      } finally {
        record.isLoadingOlder = false;
        this.store.touch(record);
      }
    });
  }

  /** Mark the messages of a chat as read. Without a connection, the next one tells the server. */
  async markRead(record: ChatRecord, upTo: number): Promise<void> {
    if (!record.reached(Math.min(upTo, record.timeline.top))) return;
    this.store.touch(record);
    if (record.chatId) await this.#reportRead(record);
  }

  /** Load the next page of the chats of a box. */
  loadMoreChats(box: Box = 'inbox'): Promise<void> {
    return this.#once(`list/${box}`, async () => {
      if (!this.store.list(box).hasMore) return;
      const listing = this.store.listing(box);
      listing.isLoading = true;
      this.store.touch();
      try {
        const page = await this.connection.call('list_chats', { box, cursor: listing.next, limit: PAGE });
        listing.oldest = this.store.takePage(page.chats, listing.oldest);
        listing.next = page.nextCursor;
      } finally {
        listing.isLoading = false;
        this.store.touch();
      }
    });
  }

  /** Run one request of a kind at a time; who asks again gets the same answer. */
  #once<T>(kind: string, run: () => Promise<T>): Promise<T> {
    const running = this.#pending.get(kind) as Promise<T> | undefined;
    if (running) return running;
    const started = run().finally(() => {
      if (this.#pending.get(kind) === started) this.#pending.delete(kind);
    });
    this.#pending.set(kind, started);
    return started;
  }

  /** Get an answer about a chat. If the server does not know it any more, it is forgotten. */
  async #ask<T>(chatId: string, answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (isGone(error)) this.store.forget(chatId);
      throw error;
    }
  }

  async #catchUpOnce(): Promise<void> {
    const isFirst = this.#since === null;
    await this.#listChanges();
    const newest = isFirst ? undefined : await this.#listNewest();
    const open = this.store.open;
    await this.#fillAll(new Set([...open, ...(newest?.missing ?? [])]));
    // Presence and watermarks may have changed without a message, also in chats that the app shows and the list does not.
    if (newest) for (const record of open.filter(({ chatId }) => !newest.listed.has(chatId!)).slice(-PAGE)) await this.#refreshPeer(record);
    for (const record of this.store.unreported) this.#reportRead(record).catch(() => {});
  }

  #reportRead(record: ChatRecord): Promise<void> {
    const kind = `read/${record.chatId}`;
    return this.#once(kind, async () => {
      try {
        for (let tries = 0; record.reportedUpTo < record.readUpTo && this.connection.ready; tries++)
          await this.#reportReadOnce(record, tries);
      } finally {
        // At once: who reads on in the next moment must not wait for a report that is over.
        this.#pending.delete(kind);
      }
    });
  }

  async #reportReadOnce(record: ChatRecord, tries: number): Promise<void> {
    const upTo = record.readUpTo;
    const { top } = record.timeline;
    try {
      const chatId = record.chatId!;
      const ack = await this.#ask(chatId, this.connection.request('mark_as_read', { chatId, upTo }));
      record.counted = { unread: ack.unread, lastSeq: top };
      record.serverReadUpTo(Math.max(upTo, ack.readUpTo));
      this.store.touch(record);
    } catch (error) {
      if (!(error as ChatError).retryable) throw error;
      if (this.connection.ready) await sleep(pauseMs(tries, error as ChatError));
    }
  }

  /** List the chats with something new since the last time, wherever they are now; the first time, the first page of inbox and requests. */
  async #listChanges(): Promise<void> {
    const since = this.#since;
    const isFirst = since === null;
    // The first answer says since when to ask the next time: nothing may be read before.
    const next = await (isFirst ? this.#listFirst('inbox') : this.#listSince(since));
    if (isFirst) await this.#listFirst('requests');
    else await Promise.all([this.#listSince(since, 'requests'), this.#listSince(since, 'declined')]);
    this.#since = next;
    this.store.touch();
  }

  async #listFirst(box: Box): Promise<string | null> {
    const { chats, nextCursor, since } = await this.connection.request('list_chats', { box, since: null, limit: PAGE });
    const listing = this.store.listing(box);
    listing.oldest = this.store.takePage(chats);
    listing.next = nextCursor;
    return since ?? null;
  }

  /** Without a box, the chats of inbox and archive are listed. */
  async #listSince(since: string, box?: Box): Promise<string | null> {
    let [cursor, next, activity]: [string | null, string | null, number | undefined] = [null, null, undefined];
    do {
      const page: Ack<'list_chats'> = await this.connection.request('list_chats', { box, since, cursor, limit: LARGEST_PAGE });
      next ??= page.since ?? null;
      activity = this.store.takeRows(page.chats, activity);
      cursor = page.nextCursor;
    } while (cursor);
    return next;
  }

  /** List the chats on top anew, as they are now, and find those that may be gone. */
  async #listNewest(): Promise<{ listed: Set<string>; missing: ChatRecord[] }> {
    const { chats, nextCursor } = await this.connection.request('list_chats', { box: 'inbox', limit: PAGE });
    this.store.takePage(chats);
    return { listed: new Set(chats.map(({ chatId }) => chatId)), missing: this.store.missing(chats, Boolean(nextCursor)) };
  }

  /** Get the newer messages of some chats, in as few requests as they fit into; forget those that are gone. */
  async #fillAll(records: ReadonlySet<ChatRecord>): Promise<void> {
    let behind = [...records].filter(({ timeline }) => timeline.first !== undefined);
    for (const record of behind) if (isFarBehind(record)) await this.#beginAnew(record).catch(unlessGone);
    for (behind = this.#known(behind); behind.length; ) {
      const asked = behind.slice(0, CURSORS).map((record) => {
        const { last, top } = record.timeline;
        return { record, last, top };
      });
      const ask = (cursor: typeof cursorOf): Promise<Ack<'sync'>> => {
        const cursors = Object.fromEntries(asked.map(({ record, last }) => [record.chatId, cursor(record, last)]));
        return this.connection.request('sync', { cursors, only: true });
      };
      const ack = await ask(cursorOf).catch((error: ChatError) => {
        // An older server has answered, for instance while another version is rolled out: changes have to wait.
        if (error.code !== 'invalid_payload') throw error;
        return ask((_, seq) => seq);
      });
      const gaps = new Map(ack.chats.map((gap) => [gap.chatId, gap]));
      for (const chatId of ack.gone ?? []) this.store.forget(chatId);
      const more: ChatRecord[] = [];
      for (const { record, last, top } of asked) {
        const gap = gaps.get(record.chatId!);
        record.cleared(gap?.clearedUpTo);
        append(record, last, top, gap ?? { messages: [], hasMore: false });
        for (const message of gap?.changes ?? []) record.timeline.change(message);
        if (gap?.changes) record.change = gap.change;
        record.missesChange = false;
        this.store.tellStored(gap?.messages ?? []);
        this.store.touch(record);
        if (gap?.hasMore || gap?.hasMoreChanges) more.push(record);
      }
      behind = this.#known([...more, ...behind.slice(CURSORS)]);
    }
  }

  #known(records: readonly ChatRecord[]): ChatRecord[] {
    return records.filter((record) => this.store.byId(record.chatId!) === record);
  }

  async #refreshPeer(record: ChatRecord): Promise<void> {
    if (!this.#known([record]).length) return;
    const { username, userId } = record.peer;
    try {
      const ack = await this.connection.request('join_chat', { username, userId: userId || undefined, limit: 1 });
      if (ack.chatId === record.chatId) this.store.takeJoin(username, ack);
    } catch (error) {
      // The peer may be deleted by now; the chat stays.
      if ((error as ChatError).retryable) throw error;
    }
  }

  async #fillLater(record: ChatRecord): Promise<void> {
    let canRetry = true;
    try {
      await this.#fill(record);
      if (record.missesChange) await this.#fillAll(new Set([record]));
    } catch (error) {
      // Without a connection the next one asks; otherwise the timer does.
      canRetry = (error as ChatError).retryable;
    }
    this.#holes.delete(record);
    if (canRetry && (record.timeline.hasHole || record.missesChange) && this.connection.ready) this.holeFound(record);
  }

  async #fill(record: ChatRecord): Promise<void> {
    const { timeline, chatId } = record;
    if (isFarBehind(record)) await this.#beginAnew(record);
    while (chatId && timeline.hasHole && this.connection.ready) {
      const { last, top } = timeline;
      const page = await this.#ask(chatId, this.connection.request('get_messages', { chatId, after: last, limit: LARGEST_PAGE }));
      append(record, last, top, page);
      this.store.tellStored(page.messages);
      this.store.touch(record);
    }
  }

  async #beginAnew(record: ChatRecord): Promise<void> {
    const chatId = record.chatId!;
    const page = await this.#ask(chatId, this.connection.request('get_messages', { chatId, limit: PAGE }));
    record.timeline.takeNewest(page);
    this.store.tellStored(page.messages);
    this.store.touch(record);
  }
}

/** How far a chat is here. Servers that count no changes understand a seq only. */
function cursorOf({ change, timeline }: ChatRecord, seq: number): number | Cursor {
  return change === undefined ? seq : { seq, change, clearedUpTo: timeline.floor - 1 };
}

/** Whether the server says that a chat does not exist, or not for this user. */
function isGone(error: unknown): boolean {
  const { code } = error as ChatError;
  return code === 'chat_not_found' || code === 'not_a_member';
}

function unlessGone(error: unknown): void {
  if (!isGone(error)) throw error;
}

function isFarBehind({ timeline }: ChatRecord): boolean {
  return timeline.top - timeline.last > FARTHEST_BEHIND;
}

/** Take the messages after a seq. What an answer without more does not hold, up to `top`, is not stored any more. */
function append(
  { timeline }: ChatRecord,
  last: number,
  top: number,
  page: Page,
): void {
  const end = page.messages.at(-1)?.seq ?? (page.archivedBefore ?? last + 1) - 1;
  timeline.append(last, page.messages, page.hasMore ? end : Math.max(end, top));
}
