import type { Box, ChatError, Conversation } from '@bbgram/chat';
import { useChatClient, useChats, useConnection } from '@bbgram/chat/react';
import { useEffect, useRef, useState, useSyncExternalStore } from 'react';

import { chatLink, type ChatAddress } from '../chats/useOpenChat';

/** Where a chat may be. */
const BOXES: readonly Box[] = ['inbox', 'requests', 'archived', 'declined'];

interface Opened {
  isLoaded: boolean;
  error?: ChatError;
}

/** The chat at an address, which is opened as soon as there is a connection. */
export function useConversation(address: ChatAddress): Opened & { conversation?: Conversation; isGone: boolean } {
  const chat = useChatClient();
  const to = address.chatId ?? address.username;
  const conversation = useSyncExternalStore(chat.subscribe, () => chat.getConversation(to));
  const [opened, setOpened] = useState<Opened>({ isLoaded: false });
  const isUnlisted = useSearch(address, conversation, (error) => setOpened({ isLoaded: false, error }));
  const isGone = !conversation && (opened.isLoaded || isUnlisted);
  // An id is taken for a name until the chat is known.
  const canOpen = !isGone && (address.chatId === undefined || conversation !== undefined);

  useEffect(() => {
    if (!canOpen) return;
    let isCurrent = true;
    chat.open(to).then(
      () => isCurrent && setOpened({ isLoaded: true }),
      (error: ChatError) => isCurrent && setOpened({ isLoaded: false, error }),
    );
    return () => {
      isCurrent = false;
    };
  }, [chat, to, canOpen]);

  useNewAddress(address, conversation, isGone);
  return { ...opened, conversation, isGone };
}

/** Loads the lists up to a chat of which nothing is known but its id. Returns whether it is in none of them. */
function useSearch({ chatId }: ChatAddress, conversation: Conversation | undefined, onError: (error: ChatError) => void): boolean {
  const chat = useChatClient();
  const next = useSyncExternalStore(chat.subscribe, () => BOXES.find((box) => chat.getChats(box).hasMore));
  const loading = useSyncExternalStore(chat.subscribe, () => BOXES.some((box) => chat.getChats(box).loading));
  const isLive = useConnection().state === 'live';
  const [hasFailed, setHasFailed] = useState(false);
  const isSought = chatId !== undefined && !conversation && isLive && !hasFailed;
  const wanted = isSought && !loading ? next : undefined;
  const fail = useRef(onError);
  useEffect(() => {
    if (!wanted) return;
    chat.loadMoreChats(wanted).catch((error: ChatError) => {
      setHasFailed(true);
      fail.current(error);
    });
  }, [chat, wanted]);
  return isSought && !next && !loading;
}

/** Goes on under the id of the chat: once a name has one, and when a chat that was deleted is begun anew. */
function useNewAddress({ chatId }: ChatAddress, conversation: Conversation | undefined, isGone: boolean): void {
  const [{ items }, requests] = [useChats(), useChats('requests')];
  const peerId = useRef<string>(undefined);
  useEffect(() => {
    if (conversation) peerId.current = conversation.peer.userId;
    const found = chatId === undefined ? conversation : isGone && [...items, ...requests.items].find(({ peer }) => peer.userId === peerId.current);
    if (found && found.chatId && found.chatId !== chatId) location.replace(chatLink(found));
  }, [chatId, conversation, isGone, items, requests]);
}
