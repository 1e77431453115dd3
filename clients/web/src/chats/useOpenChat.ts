import type { ChatItem } from '@bbgram/chat';
import { useCallback, useMemo, useSyncExternalStore } from 'react';

/**
 * Which chat: by its id, because users are renamed, and deleted users all have the same name; by the name of the other
 * user only before there is an id.
 */
export type ChatAddress = { chatId: string; username?: undefined } | { chatId?: undefined; username: string };

/** The chat that is open, which is the hash of the address: so it survives a reload, and Back works. */
export function useOpenChat(): [ChatAddress | undefined, close: () => void] {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  const close = useCallback(() => void (location.hash = ''), []);
  return [useMemo(() => parse(hash.slice(1)), [hash]), close];
}

/** `#/` and the id of the chat, or `#` and a name: a slash in a name is encoded. */
export function chatLink({ chatId, peer }: Pick<ChatItem, 'chatId' | 'peer'>): string {
  return chatId ? `#/${chatId}` : `#${encodeURIComponent(peer.username)}`;
}

export function isAt(address: ChatAddress | undefined, { chatId, peer }: ChatItem): boolean {
  return chatId ? chatId === address?.chatId : peer.username === address?.username;
}

function parse(hash: string): ChatAddress | undefined {
  if (hash.startsWith('/')) return { chatId: hash.slice(1) };
  try {
    const username = decodeURIComponent(hash);
    return username ? { username } : undefined;
  } catch {
    return undefined; // not written by us
  }
}

function subscribe(listener: () => void): () => void {
  addEventListener('hashchange', listener);
  return () => removeEventListener('hashchange', listener);
}
