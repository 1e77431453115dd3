import type { Message } from './contract.js';

/** What tabs of one browser tell each other. */
export type TabNews = { type: 'drafts' } | { type: 'stored'; message: Message };

/** The other tabs of this browser in which the same user is signed in. */
export interface Tabs {
  tell(news: TabNews): void;
  close(): void;
}

/** Hear the other tabs of a user, where browsers can. */
export function openTabs(userId: string, hear: (news: TabNews) => void): Tabs {
  if (typeof BroadcastChannel === 'undefined') return { tell() {}, close() {} };
  const channel = new BroadcastChannel(`bbgram-chat/${userId}`);
  channel.onmessage = (event) => hear(event.data as TabNews);
  // In Node.js a channel would keep the process alive.
  (channel as { unref?: () => void }).unref?.();
  return { tell: (news) => channel.postMessage(news), close: () => channel.close() };
}

/** Run something in one tab at a time, where browsers have Web Locks: everywhere but on pages without TLS. */
export async function alone<T>(name: string, run: () => Promise<T>): Promise<T> {
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  let running: Promise<T> | undefined;
  try {
    await locks?.request(`bbgram-chat/${name}`, () => (running = run()));
  } catch {
    // A page in a sandbox has locks that it may not use.
  }
  return running ?? run();
}
