import type { Box, ChatList, Conversation } from './api.js';
import type { ChatChanged, ChatSummary, JoinAck, Message, MessageStatus, Peer, TypingStatus, UserStatus } from './contract.js';
import { foldName } from './identity.js';
import type { Draft } from './drafts.js';
import { ChatRecord, ownView } from './record.js';

/** A peer has stopped typing if nothing more is heard for this long. */
const TYPING_MS = 6_000;

/** What the store needs to know of, and tells, the rest of the client. */
export interface StoreListener {
  /** Something has changed. */
  changed(): void;
  /** An own message is stored. */
  stored(message: Message): void;
  /** Messages of a chat, or changes of them, are missing. */
  holeFound(record: ChatRecord): void;
  /** A message came in a chat of which nothing else is known. */
  unlistedFound(): void;
  /** Unsent messages, in the order of sending. */
  drafts(): readonly Draft[];
}

/** How far the chats of a box are listed. */
interface Listing {
  /** Where the next page begins; null after the last, undefined before the first. */
  next?: string | null;
  isLoading: boolean;
  /** The activity of the last row that is here: older pages come below it. */
  oldest?: number;
}

/** All chats that are here. Changes come from the server's events and answers; snapshots go to the app. */
export class ChatStore {
  me: string | undefined;
  readonly #records = new Set<ChatRecord>();
  /** Also under the ids of chats that are gone: what was written in them goes to the same peer. */
  readonly #byId = new Map<string, ChatRecord>();
  readonly #byPeer = new Map<string, ChatRecord>();
  readonly #byName = new Map<string, ChatRecord>();
  readonly #typing = new Map<ChatRecord, ReturnType<typeof setTimeout>>();
  /** What a chat is like for the user, from before anything else was known of the chat. */
  readonly #early = new Map<string, ChatChanged>();
  readonly #listings = new Map<Box, Listing>();
  readonly #lists = new Map<Box, ChatList>();

  constructor(private readonly listener: StoreListener) {}

  /** Chats that the app has opened. */
  get open(): ChatRecord[] {
    return [...this.#records].filter((record) => record.isOpen && record.chatId);
  }

  /** Chats that this user has read further than the server knows. */
  get unreported(): ChatRecord[] {
    return [...this.#records].filter((record) => record.chatId && record.reportedUpTo < record.readUpTo);
  }

  /** When the newest message of all chats was stored, in milliseconds since the epoch, by the clock of the server. */
  get newest(): number {
    return [...this.#records].reduce((newest, { activity }) => Math.max(newest, activity), 0);
  }

  byId(chatId: string): ChatRecord | undefined {
    const record = this.#byId.get(chatId);
    return record?.chatId === chatId ? record : undefined;
  }

  /** Return the chat with a user, or with an id: several deleted users have the same name. */
  byName(name: string): ChatRecord | undefined {
    return this.byId(name) ?? this.#byName.get(foldName(name));
  }

  /** Return the chat with a user; begin one if none is known. */
  ensure(username: string): ChatRecord {
    return this.byName(username) ?? this.#begin({ ...nobody, username });
  }

  /** The snapshot of one chat. */
  conversation(username: string): Conversation | undefined {
    const record = this.byName(username);
    if (!record) return undefined;
    const drafts = this.#drafts().get(record) ?? [];
    return record.chatId || drafts.length ? record.conversation(drafts, this.me) : undefined;
  }

  /** How far the chats of a box are listed. */
  listing(box: Box): Listing {
    const known = this.#listings.get(box);
    if (known) return known;
    const begun: Listing = { isLoading: false };
    this.#listings.set(box, begun);
    return begun;
  }

  /** The snapshot of a list. */
  list(box: Box = 'inbox'): ChatList {
    const known = this.#lists.get(box);
    if (known) return known;
    const all = this.#drafts();
    // Never by the time of a draft and of a stored message together: they come from two clocks.
    const items = [...this.#records]
      .map((record) => ({ record, drafts: all.get(record) ?? [] }))
      .filter(({ record, drafts }) => (record.chatId || drafts.length) && record.own.shown.box === box)
      .sort(
        (a, b) =>
          Number(b.record.own.shown.pinned) - Number(a.record.own.shown.pinned) ||
          (b.drafts.at(-1)?.order ?? 0) - (a.drafts.at(-1)?.order ?? 0) ||
          b.record.activity - a.record.activity,
      )
      .map(({ record, drafts }) => record.item(drafts, this.me));
    const { next, isLoading } = this.listing(box);
    const hasMore = next === undefined ? isListedLater(box) : next !== null;
    const list = { items, hasMore, loading: isLoading };
    this.#lists.set(box, list);
    return list;
  }

  /** Say that a chat, or something about the list, has changed. */
  touch(record?: ChatRecord): void {
    record?.touch();
    this.#lists.clear();
    if (record?.timeline.hasHole || record?.missesChange) this.listener.holeFound(record);
    this.listener.changed();
  }

  /** Take a message from an event or an answer. */
  takeMessage(message: Message): void {
    const isMine = message.senderId === this.me;
    const { chatId } = message;
    if (isMine) this.listener.stored(message);
    const former = this.#byId.get(chatId);
    // Late news of a chat that is gone, and was begun anew.
    if (former?.chatId && former.chatId !== chatId) return;
    const [userId, username] = isMine
      ? [message.recipientId, message.recipientUsername]
      : [message.senderId, message.senderUsername];
    const record = this.#of(chatId, { ...nobody, userId, username });
    record.timeline.add(message);
    record.activity = Math.max(record.activity, Date.parse(message.createdAt));
    if (!isMine) this.#setTyping(record, false);
    this.touch(record);
    if (record.isListed) return;
    record.isListed = true;
    this.listener.unlistedFound();
  }

  /** Take the new state of a message. */
  takeChange(message: Message): void {
    const record = this.byId(message.chatId);
    if (!record || message.seq < record.timeline.floor) return;
    record.timeline.change(message);
    const change = message.change ?? 0;
    if (record.change !== undefined && change === record.change + 1) record.change = change;
    record.missesChange ||= record.isOpen && change > (record.change ?? change);
    this.touch(record);
  }

  /** Take what a chat is like for the user now. It may be one that is in no list that is here. */
  takeChat(chat: ChatChanged): void {
    const record = this.byId(chat.chatId);
    if (record) return this.#takeOwn(record, chat);
    this.#early.set(chat.chatId, chat);
    this.listener.unlistedFound();
  }

  #takeOwn(record: ChatRecord, own: Partial<ChatChanged>): void {
    record.cleared(own.clearedUpTo);
    record.own.take(ownView(own));
    this.touch(record);
  }

  /** Own messages that the server has are not drafts any more, however this client hears of them. */
  tellStored(messages: readonly Message[]): void {
    if (!this.listener.drafts().length) return;
    for (const message of messages) if (message.senderId === this.me) this.listener.stored(message);
  }

  /** Take a page of a box: pinned chats, then the others. Returns the activity of the last one, for the next page. */
  takePage(rows: readonly ChatSummary[], above?: number): number {
    this.takeRows(rows.filter(({ pinned }) => pinned));
    return this.takeRows(rows.filter(({ pinned }) => !pinned), above);
  }

  /** Take rows of the list of chats, newest activity first. Returns the activity of the last one, for the next page. */
  takeRows(rows: readonly ChatSummary[], above?: number): number {
    let activity = above ?? timeOf(rows.find((row) => row.lastMessage)?.lastMessage) ?? this.newest;
    for (const row of rows) {
      const { chatId, peer, lastMessage, lastSeq, unread } = row;
      const record = this.#of(chatId, peer);
      const { timeline } = record;
      activity = timeOf(lastMessage) ?? activity;
      record.activity = Math.max(record.activity, activity);
      record.takePeer(peer);
      record.serverReadUpTo(row.readUpTo);
      this.#takeOwn(record, row);
      if (lastSeq >= record.counted.lastSeq) record.counted = { unread, lastSeq };
      record.isListed = true;
      if (record.isOpen && timeline.first !== undefined) timeline.top = Math.max(timeline.top, lastSeq);
      else timeline.skipTo(lastSeq, lastMessage);
      if (lastMessage) this.tellStored([lastMessage]);
      this.touch(record);
    }
    return activity;
  }

  /** Return the chats that belong among the first rows of the inbox and are not there, and all of other boxes: perhaps they are gone. */
  missing(rows: readonly ChatSummary[], hasMore: boolean): ChatRecord[] {
    const listed = new Set(rows.map(({ chatId }) => chatId));
    const arePinned = Boolean(rows.at(-1)?.pinned);
    const last = rows.filter(({ pinned }) => Boolean(pinned) === arePinned);
    const oldest = hasMore ? Math.min(...last.map((row) => timeOf(row.lastMessage) ?? Infinity)) : -1;
    return [...this.#records].filter(({ chatId, activity, own: { server } }) => {
      if (!chatId || listed.has(chatId)) return false;
      return server.box !== 'inbox' || (server.pinned === arePinned ? activity > oldest : server.pinned);
    });
  }

  /** Take the answer to `join_chat`. */
  takeJoin(username: string, ack: JoinAck): ChatRecord {
    const record = this.#of(ack.chatId, ack.peer);
    this.#byName.set(foldName(username), record);
    record.takePeer(ack.peer);
    record.serverReadUpTo(ack.readUpTo);
    record.activity ||= timeOf(ack.messages.at(-1)) ?? this.newest;
    this.#takeOwn(record, ack);
    return record;
  }

  /** Take a watermark. */
  takeStatus({ chatId, userId, status, upTo }: MessageStatus): void {
    const record = this.byId(chatId);
    if (!record) return;
    if (userId === this.me && status === 'read') record.serverReadUpTo(upTo);
    if (userId === record.peer.userId) record.peerReached(status, upTo);
    this.touch(record);
  }

  /** Take news of who is online. */
  takePresence({ userId, username, status, lastSeen }: UserStatus): void {
    const record = this.#byPeer.get(userId);
    if (!record) return;
    record.peer = { ...record.peer, username, online: status === 'online', lastSeen };
    this.#byName.set(foldName(username), record);
    this.touch(record);
  }

  /** Take news of who is typing. */
  takeTyping({ chatId, isTyping }: TypingStatus): void {
    const record = this.byId(chatId);
    if (record) this.#setTyping(record, isTyping);
  }

  /** The connection is lost: nobody is known to be typing. */
  stopTyping(): void {
    for (const record of [...this.#typing.keys()]) this.#setTyping(record, false);
  }

  /** Forget a chat that the server does not know any more. Unsent messages to its peer stay, and may begin a new chat. */
  forget(chatId: string): void {
    const record = this.byId(chatId);
    if (record) this.touch(this.#beginAnew(record));
  }

  /** Forget everything: somebody else has signed in. */
  reset(me: string): void {
    this.stopTyping();
    this.#records.clear();
    this.#byId.clear();
    this.#byPeer.clear();
    this.#byName.clear();
    this.#early.clear();
    this.#listings.clear();
    this.me = me;
    for (const draft of this.listener.drafts()) this.ensure(draft.to);
    this.touch();
  }

  /** The chat of a draft: the one that it was written in, else that of the name. */
  recipient({ chatId, lane }: Draft): ChatRecord | undefined {
    return (chatId && this.#byId.get(chatId)) || this.#byName.get(lane);
  }

  /** Whether the message of a draft is here. */
  has(draft: Draft): boolean {
    return !!this.recipient(draft)?.timeline.ordered.some(({ senderId, clientId }) => senderId === this.me && clientId === draft.clientId);
  }

  #drafts(): Map<ChatRecord, Draft[]> {
    const found = new Map<ChatRecord, Draft[]>();
    for (const draft of this.listener.drafts()) {
      const record = this.recipient(draft);
      if (!record) continue;
      const drafts = found.get(record);
      if (drafts) drafts.push(draft);
      else found.set(record, [draft]);
    }
    return found;
  }

  #begin(peer: Peer): ChatRecord {
    const record = new ChatRecord(peer);
    this.#records.add(record);
    this.#byName.set(foldName(peer.username), record);
    return record;
  }

  /** Another record for the peer of a chat that is gone: what was asked about that chat is answered to nobody. */
  #beginAnew(gone: ChatRecord): ChatRecord {
    this.#setTyping(gone, false);
    const record = new ChatRecord({ ...gone.peer, deliveredUpTo: 0, readUpTo: 0 });
    record.isOpen = gone.isOpen;
    this.#records.delete(gone);
    this.#records.add(record);
    for (const index of [this.#byId, this.#byPeer, this.#byName])
      for (const [key, other] of index) if (other === gone) index.set(key, record);
    return record;
  }

  /** Return the chat with this id, whatever the peer is called now. */
  #of(chatId: string, peer: Peer): ChatRecord {
    const named = this.byName(peer.username);
    let record = this.byId(chatId) ?? this.#byPeer.get(peer.userId);
    // Two users have one chat: if it has another id now, the one that is known is gone.
    if (record?.chatId && record.chatId !== chatId) record = this.#beginAnew(record);
    // A name may belong to somebody else by now.
    record ??= named && !named.chatId && !named.peer.userId ? named : this.#begin(peer);
    record.chatId = chatId;
    this.#byId.set(chatId, record);
    this.#byPeer.set(peer.userId, record);
    this.#byName.set(foldName(peer.username), record);
    if (record.peer.userId !== peer.userId || record.peer.username !== peer.username) {
      record.peer = { ...record.peer, userId: peer.userId, username: peer.username };
      record.touch();
    }
    if (named && named !== record && !named.chatId && !named.peer.userId) this.#records.delete(named);
    const early = this.#early.get(chatId);
    this.#early.delete(chatId);
    if (early) this.#takeOwn(record, early);
    return record;
  }

  #setTyping(record: ChatRecord, isTyping: boolean): void {
    clearTimeout(this.#typing.get(record));
    this.#typing.delete(record);
    if (isTyping) this.#typing.set(record, setTimeout(() => this.#setTyping(record, false), TYPING_MS));
    if (record.isTyping === isTyping) return;
    record.isTyping = isTyping;
    this.touch(record);
  }
}

/** Whether the app says when the chats of a box are listed. The others are here once there is a connection. */
function isListedLater(box: Box): boolean {
  return box === 'archived' || box === 'declined';
}

/** When a message was stored, in milliseconds since the epoch, by the clock of the server. */
function timeOf(message: Message | null | undefined): number | undefined {
  return message ? Date.parse(message.createdAt) : undefined;
}

const nobody: Peer = { userId: '', username: '', online: false, lastSeen: null, deliveredUpTo: 0, readUpTo: 0 };
