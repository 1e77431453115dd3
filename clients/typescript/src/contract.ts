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
  | 'message_not_found'
  | 'not_allowed'
  | 'too_late'
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
  message_not_found: false,
  not_allowed: false,
  too_late: false,
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

/** Send a message to a user, named by `username` or `userId`. `clientId` makes a retry safe. */
export interface SendMessage {
  /** Anything else that the app wants to say: a JSON object. */
  data?: Record<string, unknown> | null;
  /** The recipient. Case does not matter. */
  username?: string | null;
  /** The recipient, whatever they are called. It wins over `username`. */
  userId?: string | null;
  /** At least one visible character, unless there is `data`. */
  text?: string;
  /** Seq of the message of this chat that this one answers. */
  replyTo?: number | null;
  /** The client's own id for this message, unique per sender, across all chats. */
  clientId?: string | null;
}

/** Edit one of the user's own messages: its text, and its `data` if given. */
export interface EditMessage {
  /** The new `data`; null removes it. Without it, the message keeps what it has. */
  data?: Record<string, unknown> | null;
  chatId: string;
  /** The message. */
  seq: number;
  /** The new text. At least one visible character, unless there is `data`. */
  text: string;
  /** The client's own id for this edit: a retry that comes after a later edit changes nothing. */
  clientId?: string | null;
}

/** Take back one of the user's own messages: its text and `data` are erased. */
export interface UnsendMessage {
  chatId: string;
  /** The message. */
  seq: number;
}

/** React to a message with an emoji, or remove the reaction. */
export interface React {
  chatId: string;
  /** The message. */
  seq: number;
  /** One emoji: any character or sequence that Unicode calls one. */
  emoji: string;
  /** True adds the reaction, false removes it. */
  on: boolean;
}

/** Hide the chat's messages up to `upTo` from the user, by default all that it has now. */
export interface ClearChat {
  chatId: string;
  /** The last seq that is cleared. Pass it: without it, messages that nobody has seen yet go as well. */
  upTo?: number | null;
}

/** Open the chat with a user, named by `username` or `userId`; create it if there is none. */
export interface JoinChat {
  /** The other user. Case does not matter. */
  username?: string | null;
  /** The other user, whatever they are called. It wins over `username`. */
  userId?: string | null;
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

/** List the user's chats, most recent activity first; in the inbox, pinned ones come before the others. */
export interface ListChats {
  /** Only the chats in this box. Without it, those of the inbox and archived ones, pinned or not. */
  box?: 'archived' | 'declined' | 'inbox' | 'requests' | null;
  /** `nextCursor` of the previous page. */
  cursor?: string | null;
  /** How many chats. */
  limit?: number | null;
  /**
   * `since` of an earlier ack: leave out chats in which nothing has happened or changed since then.
   *
   * Null asks for the first one.
   */
  since?: string | null;
}

/** Ask for everything newer than the client's cursor in each chat. */
export interface Sync {
  /** For each chat that the client knows, how far it is. A seq alone asks for messages, not for changes. */
  cursors: Record<string, number | Cursor>;
  /** Leave out chats without a cursor. */
  only?: boolean;
}

/** How far a client is in a chat. */
export interface Cursor {
  /** The last seq up to which it has everything. */
  seq: number;
  /** The last change of the chat up to which it has every change. */
  change?: number;
  /** The last seq that it knows to be cleared. */
  clearedUpTo?: number;
}

/** Tell the other user that this one is typing, or has stopped. */
export interface Typing {
  isTyping: boolean;
  /** The peer. Not together with `chatId`. */
  username?: string | null;
  /** The peer, whatever they are called. It wins over `username`. */
  userId?: string | null;
  /** The chat. It wins over `userId`. */
  chatId?: string | null;
}

/** Block a user, named by `username` or `userId`: neither hears from the other any more. */
export interface BlockUser {
  /** The user. Case does not matter. */
  username?: string | null;
  /** The user, whatever they are called. It wins over `username`. */
  userId?: string | null;
}

/** Remove a block. */
export interface UnblockUser {
  /** The user. Case does not matter. */
  username?: string | null;
  /** The user, whatever they are called. It wins over `username`. */
  userId?: string | null;
}

/** List the users whom the user has blocked, most recently blocked first. */
export interface ListBlocked {
  /** `nextCursor` of the previous page. */
  cursor?: string | null;
  /** How many users. */
  limit?: number | null;
}

/** Read the user's own settings. */
export interface GetSettings {
}

/** Change the user's own settings: those that are given. */
export interface UpdateSettings {
  /** Who may start a conversation with the user. With `requests`, strangers wait until they are accepted. */
  messagesFrom?: 'everyone' | 'nobody' | 'requests' | null;
  /** Whether others see what the user has read. */
  readReceipts?: boolean | null;
  /** Who sees whether the user is online. `chats`: those with whom both have written. */
  showPresence?: 'chats' | 'everyone' | 'nobody' | null;
  /** Whether notifications show what messages say. */
  pushTexts?: boolean | null;
}

/** Accept a message request: the chat moves to the inbox. */
export interface AcceptChat {
  chatId: string;
}

/** Decline a message request: the chat moves to the box `declined`, and its sender cannot write. */
export interface DeclineChat {
  chatId: string;
}

/** Mute, pin or archive a chat, for the user alone. Fields that are left out stay as they are. */
export interface SetChat {
  chatId: string;
  /** Until when this user gets no notifications of it; null unmutes it. */
  mutedUntil?: string | null;
  /** Whether it stands before the others in the inbox. */
  pinned?: boolean | null;
  /** Whether it is in the archive instead of the inbox. */
  archived?: boolean | null;
}

/** Report a message of the peer to those who run the chat. They get a copy of it and of ten before it. */
export interface Report {
  chatId: string;
  /** The message. */
  seq: number;
  /** A word of the app's own, such as `spam`. */
  reason: string;
  /** What the user adds. */
  note?: string | null;
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
  /**
   * BCP 47 tag of the language for notifications, such as `pt-BR`. `en_US.UTF-8` counts as `en-US`, and
   * what is no tag as none.
   */
  language?: string | null;
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

/** A stored message, the same in events, acks and pages. The version with the highest `change` counts. */
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
  /** Empty if the message has only `data`, or is unsent. */
  text: string;
  /** When it was stored. */
  createdAt: string;
  /** `sent`: committed; `delivered`: acked by a socket of the recipient; `read`. */
  status: 'delivered' | 'read' | 'sent';
  /** The sender's own id of the message, if one was given. */
  clientId?: string;
  /** What the app added, as it came. */
  data?: Record<string, unknown>;
  /** The message that this one answers. */
  replyTo?: Quote;
  /** The change of the chat that made the message what it is; missing if nobody has changed it. */
  change?: number;
  /** When its sender last edited it. */
  editedAt?: string;
  /** When its sender unsent it: its text, `data` and reactions are gone. */
  deletedAt?: string;
  /** All reactions, in the order of their first; missing if there are none. */
  reactions?: Reaction[];
  /** `system`: the app says it, in the chat of its sender. Missing if the sender wrote it. */
  kind?: 'system';
}

/** The message that another one answers, as it is now. */
export interface Quote {
  /** Its position in the same chat. */
  seq: number;
  /** Who wrote it. Missing if the message is in the archive or deleted. */
  senderId?: string;
  /** The present name of who wrote it. */
  senderUsername?: string;
  /** Its first 200 characters; empty once it is unsent. */
  text?: string;
  /** The change that made it what it is, if there was one. Whoever knows a later one shows that. */
  change?: number;
  /** When it was unsent, if it was. */
  deletedAt?: string;
  /** As in `Message`. */
  kind?: 'system';
}

/** An emoji, and who reacted to a message with it. */
export interface Reaction {
  emoji: string;
  /** In the order in which they did. */
  userIds: string[];
}

/** What a chat is like for the user alone, after they have changed it or a request came in. */
export interface ChatChanged {
  chatId: string;
  /** Messages up to this seq are not shown to the user any more; 0 if nothing is cleared. */
  clearedUpTo: number;
  /** Where the user has the chat. A `declined` one is only in the list of its own box. */
  box: 'archived' | 'declined' | 'inbox' | 'requests';
  /** Whether it stands before the others in the inbox. */
  pinned: boolean;
  /** Until when this user gets no notifications of it. It may be in the past. */
  mutedUntil: string | null;
  /** Whether the user has blocked the other one. */
  blocked: boolean;
}

/** How much a user has not read, in the chats of their inbox that are neither muted nor blocked. */
export interface UnreadChanged {
  /** How many messages they have not read. */
  total: number;
  /** In how many chats. It stops at some hundreds, and `total` is the sum of these. */
  chats: number;
}

/** The settings of a user. */
export interface Settings {
  /** Who may start a conversation with the user. */
  messagesFrom: 'everyone' | 'nobody' | 'requests';
  /** Whether others see what the user has read. */
  readReceipts: boolean;
  /** Who sees whether the user is online. */
  showPresence: 'chats' | 'everyone' | 'nobody';
  /** Whether notifications show what messages say. */
  pushTexts: boolean;
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
  /** When they last came online or went offline; null if hidden. */
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

/** Ack of `edit_message`, `unsend_message` and `react`: the change is committed. */
export interface ChangeAck {
  /** The message as it is now. */
  message: Message;
  success: true;
}

/** Ack of `clear_chat`. */
export interface ClearAck {
  /** Messages up to this seq are not shown to the user any more. */
  clearedUpTo: number;
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
  /** The newest change of the chat when this was read: the messages here hold it and all before. */
  change: number;
  /** The messages just before this seq are in the archive. */
  archivedBefore?: number;
  /** Messages up to this seq are cleared; missing if none are. */
  clearedUpTo?: number;
  /** Where the caller has the chat; missing if it is the inbox. */
  box?: 'archived' | 'declined' | 'inbox' | 'requests';
  /** True if it stands before the others in the inbox; else missing. */
  pinned?: boolean;
  /** Until when this user gets no notifications of it, maybe in the past; missing if it is not muted. */
  mutedUntil?: string;
  /** True if the caller has blocked the peer; else missing. */
  blocked?: boolean;
  success: true;
}

/** The other member of a chat, with their watermarks. */
export interface Peer {
  userId: string;
  username: string;
  /** Whether they have a socket anywhere; false as well if the caller is not to know. */
  online: boolean;
  /** When they last came online or went offline; null as well if the caller is not to know. */
  lastSeen: string | null;
  /** Up to which seq they have received everything, as far as the caller is to know. */
  deliveredUpTo: number;
  /** Up to which seq they have read everything, as far as the caller is to know. */
  readUpTo: number;
  /** What the app calls them, if it gave them a name besides `username`. */
  name?: string;
  /** Address of their picture, if they have one. */
  avatarUrl?: string;
  /** What else the app says of them, as it came. */
  data?: Record<string, unknown>;
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
  /** The newest change of the chat when this was read: the messages here hold it and all before. */
  change: number;
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
  /** The newest change of a message of the chat; 0 if there was none. */
  change: number;
  /** Messages up to this seq are cleared; missing if none are. */
  clearedUpTo?: number;
  /** Where the caller has the chat; missing if it is the inbox. */
  box?: 'archived' | 'declined' | 'inbox' | 'requests';
  /** True if it stands before the others in the inbox; else missing. */
  pinned?: boolean;
  /** Until when this user gets no notifications of it, maybe in the past; missing if it is not muted. */
  mutedUntil?: string;
  /** True if the caller has blocked the peer; else missing. */
  blocked?: boolean;
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
  /** The newest change of the chat when this was read: the messages here hold it and all before. */
  change: number;
  /** The messages just before this seq are in the archive: continue from here. */
  archivedBefore?: number;
  /** If the cursor has a `change`: the messages up to its seq that have changed since, in that order. */
  changes?: Message[];
  /** With `changes`: whether there are more after these. If so, `change` is that of the last one here. */
  hasMoreChanges?: boolean;
  /** Messages up to this seq are cleared; missing if none are. */
  clearedUpTo?: number;
}

/** Ack of a request that returns nothing. */
export interface Done {
  success: true;
}

/** Ack of `block_user` and `unblock_user`. */
export interface BlockAck {
  /** The chat of the two. */
  chatId: string;
  userId: string;
  username: string;
  /** Whether the user is blocked now. */
  blocked: boolean;
  success: true;
}

/** Ack of `list_blocked`. */
export interface BlockedAck {
  users: BlockedUser[];
  /** The `cursor` of the next page; null on the last one. */
  nextCursor: string | null;
  success: true;
}

/** Somebody whom the user has blocked. */
export interface BlockedUser {
  /** The chat of the two. */
  chatId: string;
  userId: string;
  username: string;
  blockedAt: string;
  /** What the app calls them, if it gave them a name besides `username`. */
  name?: string;
  /** Address of their picture, if they have one. */
  avatarUrl?: string;
  /** What else the app says of them, as it came. */
  data?: Record<string, unknown>;
}

/** Ack of `get_settings` and `update_settings`. */
export interface SettingsAck {
  settings: Settings;
  success: true;
}

/** Ack of `accept_chat`, `decline_chat` and `set_chat`: what the chat is like for the user now. */
export interface ChatAck {
  chat: ChatChanged;
  success: true;
}

/** Ack of `report`: the copy is kept. */
export interface ReportAck {
  /** The same for every report of this message by this user. */
  reportId: string;
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
  /** Edits one of the user's own messages. */
  edit_message: (payload: EditMessage, ack: (answer: ChangeAck | ErrorAck) => void) => void;
  /** Takes back one of the user's own messages: its text is erased. */
  unsend_message: (payload: UnsendMessage, ack: (answer: ChangeAck | ErrorAck) => void) => void;
  /** Adds a reaction to a message, or removes it. */
  react: (payload: React, ack: (answer: ChangeAck | ErrorAck) => void) => void;
  /** Hides all of the chat's messages from the user; the peer keeps them. */
  clear_chat: (payload: ClearChat, ack: (answer: ClearAck | ErrorAck) => void) => void;
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
  /** Blocks a user: neither hears from the other any more. */
  block_user: (payload: BlockUser, ack: (answer: BlockAck | ErrorAck) => void) => void;
  /** Removes a block. */
  unblock_user: (payload: UnblockUser, ack: (answer: BlockAck | ErrorAck) => void) => void;
  /** Returns the users whom the user has blocked, most recently blocked first. */
  list_blocked: (payload: ListBlocked, ack: (answer: BlockedAck | ErrorAck) => void) => void;
  /** Returns the user's settings. */
  get_settings: (payload: GetSettings, ack: (answer: SettingsAck | ErrorAck) => void) => void;
  /** Changes the user's settings: who may write, and what others see. */
  update_settings: (payload: UpdateSettings, ack: (answer: SettingsAck | ErrorAck) => void) => void;
  /** Accepts a message request: the chat moves to the inbox. */
  accept_chat: (payload: AcceptChat, ack: (answer: ChatAck | ErrorAck) => void) => void;
  /** Declines a message request: its sender cannot write any more. */
  decline_chat: (payload: DeclineChat, ack: (answer: ChatAck | ErrorAck) => void) => void;
  /** Mutes, pins or archives a chat, for the user alone. */
  set_chat: (payload: SetChat, ack: (answer: ChatAck | ErrorAck) => void) => void;
  /** Reports a message to those who run the chat; they get a copy that never changes. */
  report: (payload: Report, ack: (answer: ReportAck | ErrorAck) => void) => void;
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
  /** A message of either user was edited or unsent, or has other reactions. */
  message_changed: (payload: Message) => void;
  /** A chat is different for the user alone: cleared, muted, moved, blocked, or a new request. */
  chat_changed: (payload: ChatChanged) => void;
  /** How much the user has not read: after a connect, when they have read or changed a chat, and soon after a chat has unread messages. */
  unread_changed: (payload: UnreadChanged) => void;
  /** The user has changed their settings, on one of their devices. */
  settings_changed: (payload: Settings) => void;
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
