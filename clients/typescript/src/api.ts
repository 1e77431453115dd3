import type { ManagerOptions, SocketOptions } from 'socket.io-client';
import type { BlockedUser, ChatChanged, Peer, Quote, Reaction, RegisterDevice, Settings, UnreadChanged } from './contract.js';
import type { ChatError } from './errors.js';
import type { ChatStorage } from './storage.js';

/** What `createChat` is made with. */
export interface ChatOptions {
  /** Address of an edge, such as `https://chat.example.com`. */
  url: string;
  /** Returns the newest access token. Called at each connect and each refresh. */
  token: () => Promise<string>;
  /** Where unsent messages are kept. IndexedDB in browsers, memory elsewhere, unless given. */
  storage?: ChatStorage;
  /** Options of the Socket.IO client, for instance `transports` or `path`. */
  socket?: Partial<ManagerOptions & SocketOptions>;
}

/**
 * State of the connection.
 *
 * - `connecting`: on the way, for the first time since `connect` was called.
 * - `syncing`: connected, and asking for what was missed. With an `error`, the server does not answer that; it is asked now and then.
 * - `live`: connected and up to date.
 * - `offline`: not connected. Comes back by itself, unless `setOnline(false)` or `close` was called.
 * - `refused`: the server does not let this user in. Stays so until `connect` or `refreshToken` is called.
 */
export type ConnectionState = 'connecting' | 'syncing' | 'live' | 'offline' | 'refused';

/** The connection, as an immutable snapshot. */
export interface Connection {
  /** Whether there is one, and whether it is up to date. */
  state: ConnectionState;
  /** Why there is no connection, or why it stays `syncing`; or what the server says of it, such as `profile_missing`. */
  error?: ChatError;
  /** Who is signed in, once it is known. */
  userId?: string;
  /** The name in the token, if it has one. */
  username?: string;
}

/**
 * State of a message.
 *
 * Own messages are `pending` until they are committed (`sent`), then `delivered` and `read` by the peer. A `failed` one
 * was refused for good; see `Chat.retry` and `Chat.discard`. Messages of the peer are `delivered`, or `read` by this user.
 */
export type MessageState = 'pending' | 'sent' | 'delivered' | 'read' | 'failed';

/** A message, as an immutable snapshot. */
export interface ChatMessage {
  /** Stable from the moment of sending: `clientId`, else `id`. */
  key: string;
  /** Missing while it is not stored. */
  id?: string;
  /** Missing while it is not stored. */
  chatId?: string;
  /** Position in the chat, from 1. Missing while it is not stored. */
  seq?: number;
  /** The sender's own id of the message, if it was given one. */
  clientId?: string;
  /** Empty for an own message that was written before the user was known. */
  senderId: string;
  /** The text, as it was written: show it as text, never as HTML. */
  text: string;
  /** When it was stored; before that, when it was written. */
  createdAt: string;
  /** Whether this user wrote it. */
  mine: boolean;
  /** How far it has come. */
  state: MessageState;
  /** Why it failed. */
  error?: ChatError;
  /** What the app that sent it added. */
  data?: Record<string, unknown>;
  /** The message that it answers, as it is now. */
  replyTo?: Quote;
  /** When it was last edited. */
  editedAt?: string;
  /** When its sender took it back: it has no text any more. */
  deletedAt?: string;
  /** Emoji, and who reacted with them. */
  reactions?: Reaction[];
  /** `system` if the app says it: show it without a sender. Nobody can edit it or take it back. */
  kind?: 'system';
}

/** What else a message may have. */
export interface SendOptions {
  /** Anything that the app wants to add: a JSON object of at most 4 kB. With it, the text may be empty. */
  data?: Record<string, unknown>;
  /** Seq of the message of the same chat that this one answers. */
  replyTo?: number;
}

/** What else an edit may do. */
export interface EditOptions {
  /** The new `data`; null removes it. Without it, the message keeps what it has. */
  data?: Record<string, unknown> | null;
}

/**
 * Where a user has a chat.
 *
 * - `inbox`: among their chats.
 * - `archived`: put away.
 * - `requests`: somebody else has begun it, and waits until the user accepts.
 * - `declined`: such a request that the user does not want.
 */
export type Box = ChatChanged['box'];

/** One row of the list of chats, as an immutable snapshot. */
export interface ChatItem {
  /** Missing while nothing is stored in the chat. */
  chatId?: string;
  /** The other user, with their presence and watermarks. */
  peer: Peer;
  /** Whether the peer is typing. */
  typing: boolean;
  /** The newest message, own pending ones included. */
  lastMessage?: ChatMessage;
  /** Messages to this user that they have not read. */
  unread: number;
  /** Seq of the newest message; 0 if there is none. */
  lastSeq: number;
  /** How far this user has read. */
  readUpTo: number;
  /** Where this user has the chat. */
  box: Box;
  /** Whether it stands before the others in the inbox. */
  pinned: boolean;
  /** Until when this user is notified of none of its messages. It may have passed. */
  mutedUntil?: string;
  /** Whether this user has blocked the peer. */
  blocked: boolean;
}

/**
 * The chats of a box, as an immutable snapshot: pinned ones, then the others. Of each, those with unsent messages come first, then newest
 * activity.
 */
export interface ChatList {
  /** The rows that are here. */
  items: readonly ChatItem[];
  /** Whether the server has more, or may have; see `Chat.loadMoreChats`. */
  hasMore: boolean;
  /** Whether the next page is on its way. */
  loading: boolean;
}

/**
 * How much a user has not read, as an immutable snapshot: `total` messages in as many `chats`.
 *
 * Chats of the inbox count, but none that is muted or blocked. Of very many chats, not all are counted.
 */
export type Unread = Readonly<UnreadChanged>;

/** A chat with its messages, as an immutable snapshot. */
export interface Conversation extends ChatItem {
  /** Ascending: by `seq`, then own pending and failed ones in the order of sending. */
  messages: readonly ChatMessage[];
  /** Whether the server has older messages; see `Chat.loadOlder`. */
  hasOlder: boolean;
  /** Whether the page before is on its way. */
  loadingOlder: boolean;
  /** The messages directly before this seq are in the archive. */
  archivedBefore?: number;
  /** Whether messages are known to be missing; they are asked for. */
  hole: boolean;
}

/** A page of the users whom this user has blocked. */
export interface BlockedList {
  /** The users, the one who was blocked last first. */
  users: readonly BlockedUser[];
  /** What to ask for the next page with; null on the last one. */
  nextCursor: string | null;
}

/** One packet on the wire, for developers. Access tokens are left out. */
export interface WireEvent {
  /** `in`: from the server. */
  direction: 'in' | 'out';
  /** The event. */
  name: string;
  /** Its payload. */
  data: unknown;
  /** For a packet that answers the event `name`: the answer. `data` is undefined then. */
  ack?: unknown;
  /** When, in milliseconds since the epoch. */
  at: number;
}

/**
 * A chat client. Make it with `createChat`.
 *
 * Where a user name is asked for, the id of a known chat will do as well, except to `send`. Deleted users all have the same name.
 */
export interface Chat {
  /** Connect, and stay connected. May be called again after `close`. */
  connect(): void;
  /** Disconnect. Unsent messages stay in the storage. */
  close(): Promise<void>;

  /** The connection. The same object until something changes. */
  getConnection(): Connection;
  /** The chats of a box, by default of the inbox. The same object until something changes. */
  getChats(box?: Box): ChatList;
  /**
   * The chat with a user. The same object until something changes.
   *
   * Undefined as long as nothing is known of it, and again when the server does not know it any more. So if it is undefined
   * after `open` has resolved, the chat was deleted: say so. Messages that were not sent yet are still shown. A message of
   * either side, or another `open`, begins the chat anew; then it has another `chatId`, and is still kept complete.
   */
  getConversation(username: string): Conversation | undefined;
  /**
   * How much this user has not read in all chats. The same object until something changes.
   *
   * Undefined until the server has said it, which servers up to 0.2.0 never do. It is what the server last said, with what
   * has come and was read here since.
   */
  getUnread(): Unread | undefined;
  /** Call `listener` after every change. Returns what ends that. */
  subscribe(listener: () => void): () => void;

  /** Load the next page of the chats of a box. The first page of the inbox and of requests is here once the connection is `live`. */
  loadMoreChats(box?: Box): Promise<void>;
  /** Open the chat with a user: load its newest page, and hear whether they are online. Rejects with `chat_not_found` if it is deleted meanwhile. */
  open(username: string): Promise<Conversation>;
  /** Load the page before the oldest message. */
  loadOlder(username: string): Promise<void>;

  /** Send a text. Returns at once; the message is kept until it is stored, across reloads. */
  send(username: string, text: string, options?: SendOptions): ChatMessage;
  /** Send a failed message again. */
  retry(key: string): void;
  /** Forget a failed message, or a pending one that is not on its way yet. */
  discard(key: string): void;

  /** Replace the text of an own message. Shown at once, and taken back if the server refuses it; rejects then. */
  edit(username: string, seq: number, text: string, options?: EditOptions): Promise<void>;
  /** Take an own message back, in the same way. */
  unsend(username: string, seq: number): Promise<void>;
  /** React to a message, or take the reaction back, in the same way. */
  react(username: string, seq: number, emoji: string, on: boolean): Promise<void>;
  /** Show this user none of the messages that are here any more, on any device. The peer keeps them. */
  clear(username: string): Promise<void>;
  /** Report a message of the peer to those who run the chat: why, and what the user adds. Returns the id of the report. */
  report(username: string, seq: number, reason: string, note?: string): Promise<string>;

  /** Accept a message request: the chat moves to the inbox. Shown at once, and taken back if the server refuses it; rejects then. So do the next ones. */
  accept(username: string): Promise<void>;
  /** Decline a message request: the peer cannot write any more, and does not hear of it. */
  decline(username: string): Promise<void>;
  /** Notify this user of no message of a chat until a time; null for no longer. */
  mute(username: string, until: Date | null): Promise<void>;
  /** Have a chat stand before the others in the inbox, or not. */
  pin(username: string, on: boolean): Promise<void>;
  /** Put a chat into the archive, or back into the inbox. */
  archive(username: string, on: boolean): Promise<void>;
  /** Block a user: neither hears from the other any more. They are not told. */
  block(username: string): Promise<void>;
  /** Take a block back. */
  unblock(username: string): Promise<void>;
  /** List the users whom this user has blocked. `cursor` is the `nextCursor` of the page before. */
  listBlocked(cursor?: string): Promise<BlockedList>;

  /** The settings of this user. Undefined until `loadSettings` has resolved; then they are kept up to date. */
  getSettings(): Settings | undefined;
  /** Load the settings. */
  loadSettings(): Promise<void>;
  /** Change the settings that are given. Shown at once, and taken back if the server refuses it; rejects then. */
  updateSettings(changes: Partial<Settings>): Promise<void>;

  /** Mark messages as read, by default all that are here. While offline, the server hears of it later. */
  markRead(username: string, upToSeq?: number): Promise<void>;
  /** Tell the peer that the user is typing. Call it at each key; it is throttled, and ends by itself. */
  typing(username: string): void;

  /** Have this device notified while the user is away. Call it at each start. Returns its id. */
  registerDevice(device: RegisterDevice): Promise<string>;
  /** Stop notifications to a device. Call it before signing out. */
  unregisterDevice(id: string): Promise<void>;
  /** Subscribe this browser to Web Push and register it. Returns the id of the device. */
  registerWebPush(registration: ServiceWorkerRegistration, vapidPublicKey: string): Promise<string>;

  /** Hear everything that goes over the wire, for developers. Returns what ends that. */
  onEvent(listener: (event: WireEvent) => void): () => void;
  /** Replace the token of the connection by the newest one; connect if the connection was refused. */
  refreshToken(): Promise<void>;
  /** Cut the connection, as a bad network does. It comes back. */
  dropConnection(): void;
  /** Stay offline until told otherwise. */
  setOnline(online: boolean): void;
}
