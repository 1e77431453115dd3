import type { ChatItem, ChatMessage, Conversation, MessageState } from './api.js';
import type { ChatChanged, Message, Peer } from './contract.js';
import type { Draft } from './drafts.js';
import { Optimistic } from './optimistic.js';
import { Timeline } from './timeline.js';

/** What the list of chats said of the unread messages, and up to which message that holds. */
interface Counted {
  unread: number;
  lastSeq: number;
}

/** What a chat is like for this user alone. */
export type OwnView = Pick<ChatItem, 'box' | 'pinned' | 'mutedUntil' | 'blocked'>;

/** What is known of one chat; makes the snapshots that an app sees. */
export class ChatRecord {
  chatId: string | undefined;
  readonly timeline = new Timeline();
  /** Whether the app has opened it, so that its messages are kept complete. */
  isOpen = false;
  isLoadingOlder = false;
  isTyping = false;
  readUpTo = 0;
  /** How far the server knows that this user has read. */
  reportedUpTo = 0;
  /** When something last happened here, in milliseconds since the epoch, by the clock of the server. */
  activity = 0;
  counted: Counted = { unread: 0, lastSeq: 0 };
  /** Up to which change of the chat all are known; undefined if the server counts none. */
  change: number | undefined;
  /** Whether a change is missing. */
  missesChange = false;
  /** Up to which seq the chat is shown as cleared while the server is asked; back again if it refuses. */
  hiddenUpTo = 0;
  /** What it is like for this user alone. */
  readonly own = new Optimistic(ownView({}));
  /** Whether the list of chats has told of it, or is asked. */
  isListed = false;

  #snapshot: Conversation | undefined;
  #item: ChatItem | undefined;
  #listed: { from: readonly unknown[]; messages: readonly ChatMessage[] } | undefined;
  readonly #shown = new Map<string, { source: Message | Draft; message: ChatMessage }>();

  constructor(public peer: Peer) {}

  /** Forget the snapshot: something has changed. */
  touch(): void {
    this.#snapshot = undefined;
  }

  /** Take what the server says of the peer. Watermarks only grow. */
  takePeer(peer: Peer): void {
    const { deliveredUpTo, readUpTo } = this.peer;
    this.peer = {
      ...peer,
      deliveredUpTo: Math.max(deliveredUpTo, peer.deliveredUpTo),
      readUpTo: Math.max(readUpTo, peer.readUpTo),
    };
    this.touch();
  }

  /** Note how far the peer has received or read. Reading includes receiving. */
  peerReached(status: 'delivered' | 'read', upTo: number): void {
    const readUpTo = status === 'read' ? upTo : 0;
    this.takePeer({ ...this.peer, deliveredUpTo: upTo, readUpTo });
  }

  /** Note how far this user has read. Returns whether that is news. */
  reached(upTo: number): boolean {
    if (upTo <= this.readUpTo) return false;
    this.readUpTo = upTo;
    this.touch();
    return true;
  }

  /** Note how far the server says that this user has read. */
  serverReadUpTo(upTo: number): void {
    this.reportedUpTo = Math.max(this.reportedUpTo, upTo);
    this.reached(upTo);
  }

  /** Note up to which seq the user has cleared the chat. Cleared messages count as read. */
  cleared(upTo = 0): void {
    if (upTo < this.timeline.floor) return;
    this.timeline.clear(upTo);
    this.serverReadUpTo(upTo);
    this.touch();
  }

  /** The snapshot: the same object until something has changed. */
  conversation(drafts: readonly Draft[], me: string | undefined): Conversation {
    if (this.#snapshot) return this.#snapshot;
    const { timeline } = this;
    const messages = this.#list(drafts, me);
    return (this.#snapshot = {
      chatId: this.chatId,
      peer: this.peer,
      typing: this.isTyping,
      lastMessage: messages.at(-1),
      unread: this.unread(me),
      lastSeq: timeline.top,
      readUpTo: this.readUpTo,
      messages,
      hasOlder: timeline.hasOlder,
      loadingOlder: this.isLoadingOlder,
      archivedBefore: timeline.archivedBefore,
      hole: timeline.hasHole,
      ...this.own.shown,
    });
  }

  /** The row in the list: the same object until one of its own fields has changed. */
  item(drafts: readonly Draft[], me: string | undefined): ChatItem {
    const { messages, hasOlder, loadingOlder, archivedBefore, hole, ...item } = this.conversation(drafts, me);
    const known = this.#item;
    const isSame = known && (Object.keys(item) as (keyof ChatItem)[]).every((field) => known[field] === item[field]);
    return isSame ? known : (this.#item = item);
  }

  /** The messages as an app sees them: the same list until one of them has changed. Typing and presence change none. */
  #list(drafts: readonly Draft[], me: string | undefined): readonly ChatMessage[] {
    const { chatId, peer, readUpTo } = this;
    const ordered = this.#visible();
    const from = [ordered, ordered.length, chatId, readUpTo, peer.deliveredUpTo, peer.readUpTo, me, ...drafts];
    const isSame = from.length === this.#listed?.from.length && from.every((one, place) => one === this.#listed?.from[place]);
    if (this.#listed && isSame) return this.#listed.messages;
    const stored = ordered.map((message) => this.#show(message, me));
    const messages = [...stored, ...drafts.map((draft) => this.#showDraft(draft, me))];
    this.#listed = { from, messages };
    return messages;
  }

  #visible(): readonly Message[] {
    const { ordered } = this.timeline;
    return this.hiddenUpTo ? ordered.filter(({ seq }) => seq > this.hiddenUpTo) : ordered;
  }

  /** How many messages to this user they have not read. */
  unread(me: string | undefined): number {
    const { timeline, counted } = this;
    const readUpTo = Math.max(this.readUpTo, this.hiddenUpTo);
    if (this.peer.userId === me) return 0;
    const isHere = timeline.first !== undefined && timeline.first <= readUpTo + 1 && !timeline.hasHole;
    const from = isHere ? readUpTo : Math.max(readUpTo, counted.lastSeq);
    const carried = isHere ? 0 : Math.max(0, Math.min(counted.unread, counted.lastSeq - readUpTo));
    const { ordered } = timeline;
    let here = 0;
    for (let place = ordered.length - 1; place >= 0 && ordered[place]!.seq > from; place--) if (ordered[place]!.senderId !== me) here++;
    return carried + here;
  }

  #show(source: Message, me: string | undefined): ChatMessage {
    const { id, chatId, seq, clientId, senderId, text, createdAt, data, replyTo, editedAt, deletedAt, reactions, kind } = source;
    const mine = senderId === me && !kind;
    const key = mine && clientId ? clientId : id;
    const state = mine ? this.#stateOf(source) : seq <= this.readUpTo ? 'read' : 'delivered';
    const known = this.#shown.get(key);
    if (known?.source === source && known.message.state === state) return known.message;
    const message: ChatMessage = {
      ...{ key, id, chatId, seq, clientId, senderId, text, createdAt, mine, state },
      ...{ data, replyTo, editedAt, deletedAt, reactions, kind },
    };
    this.#shown.set(key, { source, message });
    return message;
  }

  #stateOf({ seq, status }: Message): MessageState {
    if (status === 'read' || seq <= this.peer.readUpTo) return 'read';
    return seq <= this.peer.deliveredUpTo ? 'delivered' : status;
  }

  #showDraft(source: Draft, me: string | undefined): ChatMessage {
    const known = this.#shown.get(source.clientId);
    // What a reply answers may have changed.
    if (known?.source === source && !source.replyTo) return known.message;
    const message = showDraft(source, this, me);
    this.#shown.set(source.clientId, { source, message });
    return message;
  }
}

/** Return what the server says of a chat for this user. It leaves out what is as usual. */
export function ownView({ box = 'inbox', pinned = false, mutedUntil, blocked = false }: Partial<ChatChanged>): OwnView {
  return { box, pinned, mutedUntil: mutedUntil ?? undefined, blocked };
}

/** Return how an app sees an unsent message. */
export function showDraft(draft: Draft, record: ChatRecord | undefined, me: string | undefined): ChatMessage {
  const { clientId, text, data, createdAt, error, isFailed } = draft;
  const chatId = record?.chatId;
  const state = isFailed ? 'failed' : 'pending';
  const seq = answers(draft, record) ? draft.replyTo : undefined;
  const replyTo = seq === undefined ? undefined : (record?.timeline.quote(seq) ?? { seq });
  return { key: clientId, chatId, clientId, senderId: me ?? '', text, data, replyTo, createdAt, mine: true, state, error };
}

/** Whether what a draft answers can be in this chat. If it was begun anew, its seqs are others. */
export function answers({ chatId }: Draft, record: ChatRecord | undefined): boolean {
  return !record?.chatId || record.chatId === chatId;
}
