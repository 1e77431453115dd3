import type { Chat, ChatOptions, WireEvent } from './api.js';
import { ServerConnection, type Answer } from './connection.js';
import type { Ack, ChatChanged, Message, MessageStatus, Reaction, SetChat, Settings, TypingStatus, UnreadChanged, UserStatus } from './contract.js';
import { ChatError } from './errors.js';
import { indexedDBStorage } from './indexeddb.js';
import { randomId } from './identity.js';
import { Outbox } from './outbox.js';
import { sleep } from './pause.js';
import { answers, ownView, showDraft, type OwnView } from './record.js';
import { OwnSettings } from './settings.js';
import { memoryStorage } from './storage.js';
import { ChatStore } from './store.js';
import { Synchronizer } from './sync.js';
import { TypingNotifier } from './typing.js';
import { UnreadTotals } from './unread.js';
import { subscribe } from './webpush.js';

/** What waits is sent once the client is in step, or after this time. */
const CATCH_UP_MS = 5_000;

/** Make a chat client. It does nothing until `connect` is called, so it may be made on a server too. */
export function createChat(options: ChatOptions): Chat {
  const listeners = new Set<() => void>();
  const wireListeners = new Set<(event: WireEvent) => void>();
  let isTold = true;
  const storage =
    options.storage ?? (typeof indexedDB === 'undefined' ? memoryStorage() : indexedDBStorage('bbgram-chat'));

  /** Tell the app, once for everything that happens in one go. */
  const changed = (): void => {
    if (!isTold) return;
    isTold = false;
    queueMicrotask(() => {
      isTold = true;
      for (const listener of [...listeners]) listener();
    });
  };

  const connection = new ServerConnection(options, {
    changed: () => {
      if (!connection.ready) store.stopTyping();
      changed();
    },
    identified: (userId) => {
      if (store.me !== undefined) sync.reset();
      settings.reset();
      unread.snapshot = undefined;
      void outbox.identified(userId);
      store.reset(userId);
    },
    connected: () => {
      unread.restart();
      outbox.wake();
      settings.refresh();
      // Peers may have been renamed meanwhile: first it is learned who is who.
      void Promise.race([sync.catchUp(), sleep(CATCH_UP_MS)]).then(() => outbox.resume());
    },
    received: (name, payload, answer) => receive[name]?.(payload, answer),
    wire: (event) => {
      for (const listener of wireListeners) listener({ ...event, at: Date.now() });
    },
  });

  const store: ChatStore = new ChatStore({
    changed,
    stored: ({ clientId }) => clientId && outbox.remove(clientId),
    holeFound: (record) => sync.holeFound(record),
    unlistedFound: () => sync.listSoon(),
    drafts: () => outbox.drafts,
  });
  const sync: Synchronizer = new Synchronizer(connection, store);
  const settings: OwnSettings = new OwnSettings(connection, changed);
  const unread: UnreadTotals = new UnreadTotals(store);
  const outbox: Outbox = new Outbox(storage, {
    isReady: () => connection.ready,
    send: async (draft) => {
      const { clientId, to, text, data } = draft;
      // The peer may have another name by now, and the name another owner. Servers of 0.2.0 know names alone.
      const record = store.recipient(draft);
      const userId = record?.peer.userId || undefined;
      const username = userId ? record!.peer.username : to;
      const replyTo = answers(draft, record) ? draft.replyTo : undefined;
      return (await connection.request('send_message', { username, userId, text, data, replyTo, clientId })).message;
    },
    changed: (draft) => store.touch(store.recipient(draft) ?? store.ensure(draft.to)),
    isHere: (draft) => store.has(draft),
    stored: (message) => store.takeMessage(message),
  });
  const typing = new TypingNotifier((username, isTyping) => {
    const chatId = store.byName(username)?.chatId;
    connection.tell('typing', chatId ? { chatId, isTyping } : { username, isTyping });
  });

  /** What to do with each event of the server; the others are ignored. */
  const receive: Record<string, ((payload: any, answer?: Answer) => void) | undefined> = {
    message_sent: (message: Message) => store.takeMessage(message),
    new_message: (message: Message, answer) => {
      // What comes before was missed, and the server has counted it.
      if (connection.snapshot.state === 'live') unread.receive(message);
      else store.takeMessage(message);
      answer?.({ received: true, messageId: message.id });
    },
    message_changed: (message: Message) => store.takeChange(message),
    chat_changed: (chat: ChatChanged) => store.takeChat(chat),
    unread_changed: (totals: UnreadChanged) => {
      unread.take(totals);
      changed();
    },
    settings_changed: (changes: Settings) => settings.take(changes),
    message_status: (status: MessageStatus) => store.takeStatus(status),
    typing: (status: TypingStatus) => store.takeTyping(status),
    user_status: (status: UserStatus) => store.takePresence(status),
    ping: (_, answer) => answer?.({ received: true }),
    test_message: (_, answer) => answer?.({ received: true }),
  };

  /** What the server last said of messages that are shown as they will be. */
  const confirmed = new Map<string, Message>();

  /** Show a message as it will be while the server is asked, and as it was if the server refuses. */
  const change = async (
    username: string,
    seq: number,
    as: (message: Message) => Partial<Message>,
    ask: (on: { chatId: string; seq: number }) => Promise<Ack<'react'>>,
  ): Promise<void> => {
    const record = store.byName(username);
    const before = record?.timeline.get(seq);
    if (!record || !before) throw new ChatError('message_not_found', 'This message is not here.');
    const earlier = confirmed.get(before.id);
    const base = earlier && earlier.change === before.change ? earlier : before;
    confirmed.set(before.id, base);
    record.timeline.replace({ ...before, ...as(before) });
    store.touch(record);
    try {
      store.takeChange((await ask({ chatId: before.chatId, seq })).message);
    } finally {
      const now = record.timeline.get(seq);
      // Refused, or nothing has changed.
      if (now && now.change === base.change) record.timeline.replace({ ...base, replyTo: now.replyTo });
      confirmed.delete(before.id);
      store.touch(record);
    }
  };

  /** Show a chat as it will be for the user while the server is asked, and as it was if the server refuses. */
  const changeOwn = async (
    username: string,
    as: (own: OwnView) => Partial<OwnView>,
    ask: (chatId: string) => Promise<Ack<'set_chat'>>,
  ): Promise<void> => {
    const record = store.byName(username);
    const chatId = record?.chatId;
    if (!record || !chatId) throw new ChatError('chat_not_found', 'This chat is not here.');
    await record.own.attempt(as, async () => ownView((await ask(chatId)).chat), () => store.touch(record));
  };
  const set = (username: string, wanted: Omit<SetChat, 'chatId'>, as: (own: OwnView) => Partial<OwnView>): Promise<void> =>
    changeOwn(username, as, (chatId) => connection.call('set_chat', { chatId, ...wanted }));

  const setBlocked = async (username: string, blocked: boolean): Promise<void> => {
    const record = store.byName(username);
    const userId = record?.peer.userId;
    const ask = async (): Promise<Partial<OwnView>> => {
      const event = blocked ? 'block_user' : 'unblock_user';
      return { blocked: (await connection.call(event, userId ? { userId } : { username })).blocked };
    };
    if (record) await record.own.attempt(() => ({ blocked }), ask, () => store.touch(record));
    else await ask();
  };

  return {
    connect: () => {
      outbox.listen();
      connection.connect();
    },
    close: () => {
      connection.close();
      sync.stop();
      typing.close();
      store.stopTyping();
      outbox.wake();
      return outbox.close();
    },
    getConnection: () => connection.snapshot,
    getChats: (box) => store.list(box),
    getConversation: (username) => store.conversation(username),
    getUnread: () => unread.snapshot,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    loadMoreChats: (box) => sync.loadMoreChats(box),
    open: async (username) => {
      await sync.open(username);
      const conversation = store.conversation(username);
      if (!conversation) throw new ChatError('chat_not_found', 'This chat does not exist any more.');
      return conversation;
    },
    loadOlder: async (username) => {
      const record = store.byName(username);
      if (record) await sync.loadOlder(record);
    },
    send: (username, text, options) => {
      typing.stop(username);
      const record = store.byName(username);
      return showDraft(outbox.add(username, text, record?.chatId, options), record, store.me);
    },
    retry: (key) => outbox.retry(key),
    discard: (key) => outbox.discard(key),
    edit: (username, seq, text, { data } = {}) =>
      change(
        username,
        seq,
        (message) => ({ text, data: data === undefined ? message.data : (data ?? undefined) }),
        (on) => connection.call('edit_message', { ...on, text, data, clientId: randomId() }),
      ),
    unsend: (username, seq) =>
      change(
        username,
        seq,
        () => ({ text: '', data: undefined, reactions: undefined, deletedAt: new Date().toISOString() }),
        (on) => connection.call('unsend_message', on),
      ),
    react: (username, seq, emoji, on) =>
      change(
        username,
        seq,
        ({ reactions }) => ({ reactions: reacted(reactions ?? [], emoji, store.me!, on) }),
        (message) => connection.call('react', { ...message, emoji, on }),
      ),
    clear: async (username) => {
      const record = store.byName(username);
      const chatId = record?.chatId;
      if (!record || !chatId) return;
      const upTo = (record.hiddenUpTo = record.timeline.last);
      store.touch(record);
      try {
        record.cleared((await connection.call('clear_chat', { chatId, upTo })).clearedUpTo);
      } finally {
        record.hiddenUpTo = 0;
        store.touch(record);
      }
    },
    report: async (username, seq, reason, note) => {
      const chatId = store.byName(username)?.chatId;
      if (!chatId) throw new ChatError('message_not_found', 'This message is not here.');
      return (await connection.call('report', { chatId, seq, reason, note })).reportId;
    },
    accept: (username) =>
      changeOwn(username, ({ box }) => ({ box: box === 'archived' ? box : 'inbox' }), (chatId) => connection.call('accept_chat', { chatId })),
    decline: (username) => changeOwn(username, () => ({ box: 'declined' }), (chatId) => connection.call('decline_chat', { chatId })),
    mute: (username, until) => {
      const mutedUntil = until?.toISOString();
      return set(username, { mutedUntil: mutedUntil ?? null }, () => ({ mutedUntil }));
    },
    pin: (username, on) => set(username, { pinned: on }, ({ box }) => ({ pinned: on, box: on ? 'inbox' : box })),
    archive: (username, on) =>
      set(username, { archived: on }, ({ box, pinned }) => ({
        box: on ? 'archived' : box === 'archived' ? 'inbox' : box,
        pinned: pinned && !on,
      })),
    block: (username) => setBlocked(username, true),
    unblock: (username) => setBlocked(username, false),
    listBlocked: async (cursor) => {
      const { users, nextCursor } = await connection.call('list_blocked', { cursor });
      return { users, nextCursor };
    },
    getSettings: () => settings.snapshot,
    loadSettings: () => settings.load(),
    updateSettings: (changes) => settings.update(changes),
    markRead: async (username, upToSeq) => {
      const record = store.byName(username);
      if (record) await unread.read(record, () => sync.markRead(record, upToSeq ?? record.timeline.last));
    },
    typing: (username) => typing.key(username),
    registerDevice: async (device) => (await connection.call('register_device', device)).deviceId,
    unregisterDevice: async (deviceId) => void (await connection.call('unregister_device', { deviceId })),
    registerWebPush: async (registration, vapidPublicKey) => {
      const device = await subscribe(registration, vapidPublicKey);
      return (await connection.call('register_device', device)).deviceId;
    },
    onEvent: (listener) => {
      wireListeners.add(listener);
      return () => void wireListeners.delete(listener);
    },
    refreshToken: () => connection.refresh(),
    dropConnection: () => connection.drop(),
    setOnline: (online) => connection.setOnline(online),
  };
}

/** The reactions to a message once a user has one more, or less. */
function reacted(reactions: readonly Reaction[], emoji: string, user: string, on: boolean): Reaction[] {
  const others = reactions.map((one) => (one.emoji === emoji ? { emoji, userIds: one.userIds.filter((id) => id !== user) } : one));
  const known = others.find((one) => one.emoji === emoji);
  if (on && known) known.userIds.push(user);
  if (on && !known) others.push({ emoji, userIds: [user] });
  return others.filter(({ userIds }) => userIds.length);
}
