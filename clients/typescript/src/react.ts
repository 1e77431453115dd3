/**
 * React hooks for BB-Gram chat.
 *
 * @packageDocumentation
 */
import { createContext, createElement, useContext, useEffect, useSyncExternalStore, type JSX, type ReactNode } from 'react';
import type { Box, Chat, ChatList, Connection, Conversation, Unread } from './api.js';
import type { Settings } from './contract.js';

const ChatContext = createContext<Chat | undefined>(undefined);

/** What a server renders, and a browser before it knows better. */
const noChats: ChatList = { items: [], hasMore: false, loading: false };
const noConnection: Connection = { state: 'connecting' };
const none = (): undefined => undefined;

/** Give the components below the chat client. It neither connects nor closes it: that is up to the app. */
export function ChatProvider({ chat, children }: { chat: Chat; children?: ReactNode }): JSX.Element {
  return createElement(ChatContext.Provider, { value: chat }, children);
}

/** The client that `ChatProvider` was given. */
export function useChatClient(): Chat {
  const chat = useContext(ChatContext);
  if (!chat) throw new Error('Wrap this component in <ChatProvider chat={...}>.');
  return chat;
}

/** The chat with a user, which it opens. Undefined until something is known of it, and again once it is deleted; see `Chat.getConversation`. */
export function useChat(username: string): Conversation | undefined {
  const chat = useChatClient();
  useEffect(() => {
    // Without such a user there is nothing to show; an app that wants to know why calls `open` itself.
    chat.open(username).catch(() => {});
  }, [chat, username]);
  return useSyncExternalStore(chat.subscribe, () => chat.getConversation(username), none);
}

/** The chats of a box, by default of the inbox: pinned ones, then newest activity first. */
export function useChats(box?: Box): ChatList {
  const chat = useChatClient();
  return useSyncExternalStore(chat.subscribe, () => chat.getChats(box), () => noChats);
}

/** How much the user has not read in all chats. Undefined until the server has said it; see `Chat.getUnread`. */
export function useUnread(): Unread | undefined {
  const chat = useChatClient();
  return useSyncExternalStore(chat.subscribe, chat.getUnread, none);
}

/** The settings of the user, which it loads. Undefined until they are here. */
export function useSettings(): Settings | undefined {
  const chat = useChatClient();
  useEffect(() => {
    // Without them there is nothing to show; an app that wants to know why calls `loadSettings` itself.
    chat.loadSettings().catch(() => {});
  }, [chat]);
  return useSyncExternalStore(chat.subscribe, chat.getSettings, none);
}

/** State of the connection. */
export function useConnection(): Connection {
  const chat = useChatClient();
  return useSyncExternalStore(chat.subscribe, chat.getConnection, () => noConnection);
}
