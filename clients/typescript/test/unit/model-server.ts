import type { ServerConnection } from '../../src/connection.js';
import type { Box, ChatChanged, ChatSummary, Cursor, Message, Peer } from '../../src/index.js';
import { ChatError } from '../../src/index.js';
import { message } from './messages.js';

interface Stored {
  chatId: string;
  peer: Peer;
  messages: Message[];
  lastSeq: number;
  readUpTo: number;
  activity: number;
  change: number;
  clearedUpTo: number;
  box: Box;
  pinned: boolean;
  /** When the user changed where it is. */
  changedAt: number;
}

/** The server as docs/events.md describes it, for requests of alice. It stands in for a connection. */
export class ModelServer {
  readonly chats = new Map<string, Stored>();
  readonly requests: [event: string, payload: any][] = [];
  /** Errors of the next requests. */
  readonly failures: ChatError[] = [];
  ready = true;
  /** Whether it is a server that knows of changes. */
  countsChanges = true;
  snapshot: { state: string; error?: ChatError } = { state: 'syncing' };
  #clock = 1;
  #begun = 0;

  /** Stand in for a connection. */
  get connection(): ServerConnection {
    return this as unknown as ServerConnection;
  }

  becomeStuck(error: ChatError): void {
    this.snapshot = { state: 'syncing', error };
  }

  becomeLive(): void {
    this.snapshot = { state: 'live' };
  }

  /** Delete the chat with a user, and begin another one with a message from them. */
  beginAnew(username: string): Message {
    this.chats.delete(username);
    this.#begin(username, `-${++this.#begun}`);
    return this.store(username);
  }

  /** Store a message from the peer in a chat. */
  store(username: string, fields: Partial<Message> = {}): Message {
    const chat = this.chats.get(username) ?? this.#begin(username);
    const activity = this.#clock++;
    const made = message(++chat.lastSeq, {
      id: `${username}-${chat.lastSeq}`,
      chatId: chat.chatId,
      senderId: chat.peer.userId,
      senderUsername: username,
      createdAt: new Date(activity * 1000).toISOString(),
      ...fields,
    });
    chat.messages.push(made);
    chat.activity = activity;
    return made;
  }

  async request(event: string, payload: any): Promise<any> {
    this.requests.push([event, payload]);
    await Promise.resolve();
    const failure = this.failures.shift();
    if (failure) throw failure;
    return (this as any)[event](payload);
  }

  call(event: string, payload: any): Promise<any> {
    return this.request(event, payload);
  }

  list_chats({ box, cursor, limit, since }: { box?: Box; cursor?: string; limit: number; since?: string | null }) {
    const pinnedFirst = (chat: Stored): number => Number(box === 'inbox' && chat.pinned);
    const all = [...this.chats.values()]
      .sort((a, b) => pinnedFirst(b) - pinnedFirst(a) || b.activity - a.activity)
      .filter((chat) => (box ? chat.box === box : chat.box === 'inbox' || chat.box === 'archived'))
      .filter((chat) => !since || Math.max(chat.activity, chat.changedAt) >= Number(since));
    const start = cursor ? all.findIndex((chat) => chat.chatId === cursor) + 1 : 0;
    const page = all.slice(start, start + limit);
    const more = start + limit < all.length;
    const chats = page.map((chat): ChatSummary => ({
      chatId: chat.chatId,
      peer: chat.peer,
      lastMessage: chat.messages.at(-1)?.seq === chat.lastSeq ? chat.messages.at(-1)! : null,
      lastSeq: chat.lastSeq,
      unread: chat.messages.filter(({ seq, senderId }) => seq > chat.readUpTo && senderId !== 'alice-id').length,
      readUpTo: chat.readUpTo,
      deliveredUpTo: chat.lastSeq,
      change: chat.change,
      ...(chat.box === 'inbox' ? {} : { box: chat.box }),
      ...(chat.pinned ? { pinned: true } : {}),
    }));
    return {
      success: true,
      chats,
      nextCursor: more ? page.at(-1)!.chatId : null,
      ...(since === undefined ? {} : { since: String(this.#clock) }),
    };
  }

  /** Change a message, as an edit of either user does. */
  change(username: string, seq: number, fields: Partial<Message>): Message {
    const chat = this.chats.get(username)!;
    const place = chat.messages.findIndex((one) => one.seq === seq);
    const changed = { ...chat.messages[place]!, ...fields, change: ++chat.change };
    chat.messages[place] = changed;
    chat.activity = this.#clock++;
    return changed;
  }

  /** Put a chat somewhere else, as another device of the user does. */
  move(username: string, fields: Partial<Pick<Stored, 'box' | 'pinned'>>): ChatChanged {
    const chat = Object.assign(this.chats.get(username)!, fields, { changedAt: this.#clock++ });
    const { chatId, clearedUpTo, box, pinned } = chat;
    return { chatId, clearedUpTo, box, pinned, mutedUntil: null, blocked: false };
  }

  edit_message({ chatId, seq, text }: { chatId: string; seq: number; text: string }) {
    return { success: true, message: this.change(this.#find(chatId).peer.username, seq, { text }) };
  }

  clear_chat({ chatId, upTo }: { chatId: string; upTo: number }) {
    this.#find(chatId).clearedUpTo = upTo;
    return { success: true, clearedUpTo: upTo };
  }

  sync({ cursors: given, only }: { cursors: Record<string, number | Cursor>; only: boolean }) {
    const cursors = Object.fromEntries(Object.entries(given).map(([id, one]) => [id, typeof one === 'number' ? one : one.seq]));
    if (!this.countsChanges && Object.values(given).some((one) => typeof one === 'object')) throw new ChatError('invalid_payload');
    if (!only || Object.keys(cursors).length > 1_500) throw new ChatError('payload_too_large');
    let room = 500;
    const byId = new Map([...this.chats.values()].map((chat) => [chat.chatId, chat]));
    const behind = Object.entries(cursors).filter(([chatId, seq]) => {
      const chat = byId.get(chatId);
      const cursor = given[chatId]!;
      const isChanged = typeof cursor === 'object' && chat && (chat.change > (cursor.change ?? 0) || chat.clearedUpTo > (cursor.clearedUpTo ?? 0));
      return isChanged || (chat?.lastSeq ?? 0) > seq;
    });
    const chats = behind.map(([chatId, seq]) => {
      const chat = byId.get(chatId)!;
      const page = this.#after(chat, seq, Math.min(100, room));
      room -= page.messages.length;
      const cursor = given[chatId]!;
      if (typeof cursor === 'number') return { chatId, ...page };
      const changes = chat.messages
        .filter((one) => one.seq <= seq && (one.change ?? 0) > (cursor.change ?? 0))
        .sort((a, b) => a.change! - b.change!);
      const part = changes.slice(0, 2);
      const hasMoreChanges = changes.length > part.length;
      const change = hasMoreChanges ? part.at(-1)!.change! : chat.change;
      return { chatId, ...page, change, changes: part, hasMoreChanges, clearedUpTo: chat.clearedUpTo };
    });
    const gone = Object.keys(cursors).filter((chatId) => !byId.has(chatId));
    return { success: true, chats, ...(gone.length ? { gone } : {}) };
  }

  get_messages({ chatId, before, after, limit }: { chatId: string; before?: number; after?: number; limit: number }) {
    const chat = this.#find(chatId);
    if (after !== undefined) return { success: true, ...this.#after(chat, after, limit) };
    const older = chat.messages.filter(({ seq }) => seq < (before ?? Infinity));
    const counted = this.countsChanges ? { change: chat.change } : {};
    return { success: true, messages: older.slice(-limit), hasMore: older.length > limit, ...counted };
  }

  join_chat({ username, limit }: { username: string; limit: number }) {
    const chat = this.chats.get(username);
    if (!chat) throw new ChatError('user_not_found');
    const { chatId, peer, readUpTo } = chat;
    return { ...this.get_messages({ chatId, limit }), chatId, peer, readUpTo, deliveredUpTo: 0 };
  }

  mark_as_read({ chatId, upTo }: { chatId: string; upTo: number }) {
    const chat = this.#find(chatId);
    chat.readUpTo = Math.max(chat.readUpTo, upTo);
    return { success: true, readUpTo: chat.readUpTo, unread: chat.messages.filter(({ seq }) => seq > chat.readUpTo).length };
  }

  #find(chatId: string): Stored {
    const chat = [...this.chats.values()].find((each) => each.chatId === chatId);
    if (!chat) throw new ChatError('chat_not_found');
    return chat;
  }

  #after(chat: Stored, after: number, limit: number) {
    const newer = chat.messages.filter(({ seq }) => seq > after);
    const first = newer[0]?.seq ?? 0;
    const messages = newer.slice(0, limit).filter(({ seq }, place) => seq === first + place);
    return { messages, hasMore: messages.length < newer.length };
  }

  /** A chat that is begun anew has another id. */
  #begin(username: string, again = ''): Stored {
    const peer = { userId: `${username}-id`, username, online: false, lastSeen: null, deliveredUpTo: 0, readUpTo: 0 };
    const made: Stored = {
      ...{ chatId: `chat-${username}${again}`, peer, messages: [], lastSeq: 0, readUpTo: 0, activity: 0, change: 0, clearedUpTo: 0 },
      ...{ box: 'inbox', pinned: false, changedAt: 0 },
    };
    this.chats.set(username, made);
    return made;
  }
}
