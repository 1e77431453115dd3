// Written by `make contract` from infra/wire. Do not edit.
// docs/events.md explains the events, docs/contract/ has the same contract as AsyncAPI and JSON Schema.

/** Stable codes of failed requests and refused connections. */
export type ErrorCode =
  | 'unauthorized'
  | 'token_expired'
  | 'forbidden_origin'
  | 'invalid_payload'
  | 'unknown_event'
  | 'payload_too_large'
  | 'user_not_found'
  | 'profile_missing'
  | 'chat_not_found'
  | 'not_a_member'
  | 'rate_limited'
  | 'busy'
  | 'timeout'
  | 'unavailable'
  | 'internal';

/** Whether the same request may succeed later. */
export const retryable: Readonly<Record<ErrorCode, boolean>> = {
  unauthorized: false,
  token_expired: true,
  forbidden_origin: false,
  invalid_payload: false,
  unknown_event: false,
  payload_too_large: false,
  user_not_found: false,
  profile_missing: false,
  chat_not_found: false,
  not_a_member: false,
  rate_limited: true,
  busy: true,
  timeout: true,
  unavailable: true,
  internal: false,
};

/** What a client connects with. */
export interface Auth {
  /** The access token of the signed-in user. */
  token: string;
}

/** Send `text` to `username`. `clientId` makes a retry safe. */
export interface SendMessage {
  /** The recipient. Case does not matter. */
  username: string;
  /** At least one visible character. */
  text: string;
  /** The client's own id for this message, unique per sender, across all chats. */
  clientId?: string | null;
}

/** Open the chat with `username`; create it if there is none. */
export interface JoinChat {
  username: string;
  /** How many messages. */
  limit?: number | null;
}

/** Move the reader's watermark to `upTo`, by default to the end of the chat. */
export interface MarkAsRead {
  chatId: string;
  /** The last seq that was read. Pass it: without it, messages that nobody has seen yet are marked too. */
  upTo?: number | null;
}

/** Read a page of history before or after a seq, by default the newest page. */
export interface GetMessages {
  chatId: string;
  /** Only messages with a smaller seq, the newest of them. */
  before?: number | null;
  /** Only messages with a greater seq, the oldest of them. */
  after?: number | null;
  /** How many messages. */
  limit?: number | null;
}

/** List the user's chats, most recent activity first. */
export interface ListChats {
  /** `nextCursor` of the previous page. */
  cursor?: string | null;
  /** How many chats. */
  limit?: number | null;
  /** `since` of an earlier ack: leave out chats without activity since then. Null asks for the first one. */
  since?: string | null;
}

/** Ask for everything newer than the client's cursor in each chat. */
export interface Sync {
  /** For each chat that the client knows, the last seq up to which it has everything. */
  cursors: Record<string, number>;
  /** Leave out chats without a cursor. */
  only?: boolean;
}

/** Tell the other user that this one is typing, or has stopped. */
export interface Typing {
  isTyping: boolean;
  /** The peer; or name the chat. */
  username?: string | null;
  chatId?: string | null;
}

/**
 * Notify the user on this device about messages that arrive while they are offline.
 *
 * Registering a device again refreshes it.
 */
export interface RegisterDevice {
  channel: 'apns' | 'email' | 'fcm' | 'log' | 'webhook' | 'webpush';
  /** Device token, https URL or e-mail address. */
  address: string;
  /** Needed for `webpush`. */
  keys?: PushKeys | null;
  /** IANA name of the user's time zone. What devices report instead, such as `GMT+05:30`, counts as none. */
  timeZone?: string | null;
}

/** Keys of a browser's push subscription, base64url (RFC 8291). */
export interface PushKeys {
  p256dh: string;
  auth: string;
}

/** Stop notifying the user on this device. */
export interface UnregisterDevice {
  /** From the ack of `register_device`. */
  deviceId: string;
}

/** Replace the token of this connection. The edge answers it, so that the token never leaves the edge. */
export interface RefreshToken {
  /** A fresh access token of the same user. */
  token: string;
}

/** The first event of a connection. Times are ISO 8601 UTC with milliseconds. */
export interface ConnectionSuccess {
  /** Who the client is signed in as. */
  userId: string;
  socketId: string;
  /** The server's clock. */
  serverTime: string;
  /** When the token expires. */
  expiresAt: string;
  /** The name in the token, if it has one; the profile may have another. */
  username?: string;
}

/** Follows `connection_success`, so that a client can see that events arrive. */
export interface TestMessage {
  message: string;
  timestamp: string;
}

/** Application-level ping; the client may ack it. */
export interface Ping {
  timestamp: string;
}

/** A stored message, the same in events, acks and pages. */
export interface Message {
  id: string;
  chatId: string;
  /** Position in the chat, from 1, without holes. */
  seq: number;
  senderId: string;
  /** The present name of the sender, like that of the recipient. */
  senderUsername: string;
  /** The recipient; in a note to self, the sender. */
  recipientId: string;
  recipientUsername: string;
  text: string;
  /** When it was stored. */
  createdAt: string;
  /** `sent`: committed; `delivered`: acked by a socket of the recipient; `read`. */
  status: 'delivered' | 'read' | 'sent';
  /** The sender's own id of the message, if one was given. */
  clientId?: string;
}

/** `userId` has received (`delivered`) or read all messages up to `upTo`. */
export interface MessageStatus {
  chatId: string;
  /** The user who received or read them: the peer, or this user on another socket. */
  userId: string;
  status: 'delivered' | 'read';
  /** Every message to the user up to this seq. */
  upTo: number;
  at: string;
}

/** `userId` is typing in a chat, or has stopped. */
export interface TypingStatus {
  chatId: string;
  /** The peer. */
  userId: string;
  username: string;
  isTyping: boolean;
}

/** `userId` came online or went offline. */
export interface UserStatus {
  userId: string;
  username: string;
  status: 'offline' | 'online';
  /** When they last came online or went offline. */
  lastSeen: string | null;
}

/** Payload of `error`, and `data` of a refused connection. */
export interface ErrorEvent {
  code: ErrorCode;
  /** One sentence for people. It may change, so do not compare it. */
  message: string;
  /** Whether the same request may succeed later. */
  retryable: boolean;
  /** The event that failed; missing if the error is not about a known event. */
  event?: string;
  /** The `clientId` of the request, if the server could read it. */
  clientId?: string;
  /** When to try again, in milliseconds, if the server knows it. */
  retryAfterMs?: number;
}

/** Ack of `send_message`: the message is committed. */
export interface SendAck {
  message: Message;
  success: true;
}

/** Ack of `join_chat`; the watermarks are the caller's own. */
export interface JoinAck {
  chatId: string;
  peer: Peer;
  /** The newest page, ascending by seq. */
  messages: Message[];
  /** Whether there are older messages. */
  hasMore: boolean;
  /** The caller's own watermark. */
  deliveredUpTo: number;
  /** The caller's own watermark. */
  readUpTo: number;
  /** The messages just before this seq are in the archive. */
  archivedBefore?: number;
  success: true;
}

/** The other member of a chat, with their watermarks. */
export interface Peer {
  userId: string;
  username: string;
  /** Whether they have a socket anywhere. */
  online: boolean;
  /** When they last came online or went offline. */
  lastSeen: string | null;
  /** Up to which seq they have received everything. */
  deliveredUpTo: number;
  /** Up to which seq they have read everything. */
  readUpTo: number;
}

/** Ack of `mark_as_read`. */
export interface ReadAck {
  /** The new watermark. */
  readUpTo: number;
  /** Messages to the user after it. */
  unread: number;
  success: true;
}

/** Ack of `get_messages`; ascending by seq. */
export interface MessagesAck {
  messages: Message[];
  /** Whether there are more messages in that direction: older, or newer with `after`. */
  hasMore: boolean;
  /** The messages just before this seq are in the archive. */
  archivedBefore?: number;
  success: true;
}

/** Ack of `list_chats`. */
export interface ChatsAck {
  chats: ChatSummary[];
  /** The `cursor` of the next page; null on the last one. */
  nextCursor: string | null;
  /** If the request had one: what to send when the client wants to know what has changed since now. */
  since?: string;
  success: true;
}

/** One row of `list_chats`. */
export interface ChatSummary {
  chatId: string;
  peer: Peer;
  /** The newest message; null if there is none, or if it is in the archive or deleted. */
  lastMessage: Message | null;
  /** Messages to the user that they have not read. */
  unread: number;
  /** The caller's own watermark. */
  readUpTo: number;
  /** The caller's own watermark. */
  deliveredUpTo: number;
  /** Seq of the newest message, even if it is in the archive or deleted; 0 if there was none. */
  lastSeq: number;
}

/** Ack of `sync`. */
export interface SyncAck {
  /** The chats with something newer than their cursors, newest activity first. */
  chats: ChatGap[];
  /** Chats in the request that do not exist, or of which the user is no member. */
  gone?: string[];
  success: true;
}

/** What a client missed in one chat. */
export interface ChatGap {
  chatId: string;
  /** The messages after the cursor, ascending by seq, without a hole. */
  messages: Message[];
  /** Whether there are more after these. */
  hasMore: boolean;
  /** The messages just before this seq are in the archive: continue from here. */
  archivedBefore?: number;
}

/** Ack of a request that returns nothing. */
export interface Done {
  success: true;
}

/** Ack of `register_device`. */
export interface DeviceAck {
  deviceId: string;
  success: true;
}

/** Ack of `refresh_token`. `username` is the name in the new token, as in `connection_success`. */
export interface RefreshAck {
  /** When the new token expires. */
  expiresAt: string;
  username?: string;
  success: true;
}

/** Ack of a request that failed. */
export interface ErrorAck {
  /** One sentence for people. It may change, so do not compare it. */
  error: string;
  code: ErrorCode;
  /** Whether the same request may succeed later. */
  retryable: boolean;
  /** The `clientId` of the request, if the server could read it. */
  clientId?: string;
  /** When to try again, in milliseconds, if the server knows it. */
  retryAfterMs?: number;
  success: false;
}

/** What clients send: Socket.IO's typed events. */
export interface ClientToServerEvents {
  /** Sends a message to a user. */
  send_message: (payload: SendMessage, ack: (answer: SendAck | ErrorAck) => void) => void;
  /** Opens the chat with a user, creating it if there is none, and returns its newest page. */
  join_chat: (payload: JoinChat, ack: (answer: JoinAck | ErrorAck) => void) => void;
  /** Marks the messages of a chat as read, up to a seq. */
  mark_as_read: (payload: MarkAsRead, ack: (answer: ReadAck | ErrorAck) => void) => void;
  /** Returns a page of a chat's history. */
  get_messages: (payload: GetMessages, ack: (answer: MessagesAck | ErrorAck) => void) => void;
  /** Returns the user's chats, newest activity first. */
  list_chats: (payload: ListChats, ack: (answer: ChatsAck | ErrorAck) => void) => void;
  /** Returns what the client has missed, in all chats at once. */
  sync: (payload: Sync, ack: (answer: SyncAck | ErrorAck) => void) => void;
  /** Tells the other user that this one is typing, or has stopped. */
  typing: (payload: Typing, ack?: (answer: Done | ErrorAck) => void) => void;
  /** Registers a device for notifications while the user is away. */
  register_device: (payload: RegisterDevice, ack: (answer: DeviceAck | ErrorAck) => void) => void;
  /** Stops notifications to a device. */
  unregister_device: (payload: UnregisterDevice, ack: (answer: Done | ErrorAck) => void) => void;
  /** Replaces the connection's access token. */
  refresh_token: (payload: RefreshToken, ack: (answer: RefreshAck | ErrorAck) => void) => void;
}

/** What clients receive: Socket.IO's typed events. Call `ack` where there is one. */
export interface ServerToClientEvents {
  /** The connection is ready; always the first event. */
  connection_success: (payload: ConnectionSuccess) => void;
  /** Follows `connection_success`, so that a client can check that events arrive. */
  test_message: (payload: TestMessage, ack: (answer?: unknown) => void) => void;
  /** A regular ping of the application, not of the transport; the client may ack it. */
  ping: (payload: Ping, ack: (answer?: unknown) => void) => void;
  /** The user's own message was stored; sent to all of the user's sockets. */
  message_sent: (payload: Message) => void;
  /** A message to the user was stored; the client must ack it. */
  new_message: (payload: Message, ack: (answer?: unknown) => void) => void;
  /** A user has received or read messages. */
  message_status: (payload: MessageStatus) => void;
  /** The other user is typing, or has stopped. */
  typing: (payload: TypingStatus) => void;
  /** A peer came online or went offline. */
  user_status: (payload: UserStatus) => void;
  /** A request failed, or the connection needs attention. */
  error: (payload: ErrorEvent) => void;
}

/** What a client event is sent with. */
export type Payload<E extends keyof ClientToServerEvents> = Parameters<ClientToServerEvents[E]>[0];

/** What a client event is answered with, unless it fails. */
export type Ack<E extends keyof ClientToServerEvents> = Exclude<
  Parameters<NonNullable<Parameters<ClientToServerEvents[E]>[1]>>[0],
  ErrorAck
>;
