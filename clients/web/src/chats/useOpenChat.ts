import { useCallback, useSyncExternalStore } from 'react';

/** The user whose chat is open, which is the hash of the address: so it survives a reload, and Back works. */
export function useOpenChat(): [string | undefined, (username: string | undefined) => void] {
  const open = useSyncExternalStore(subscribe, read);
  return [open, useCallback(write, [])];
}

export const chatLink = (username: string): string => `#${encodeURIComponent(username)}`;

function subscribe(listener: () => void): () => void {
  addEventListener('hashchange', listener);
  return () => removeEventListener('hashchange', listener);
}

function read(): string | undefined {
  try {
    return decodeURIComponent(location.hash.slice(1)) || undefined;
  } catch {
    return undefined; // not written by us
  }
}

function write(username: string | undefined): void {
  location.hash = username ? chatLink(username) : '';
}
