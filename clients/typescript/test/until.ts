import type { Chat } from '../src/index.js';

/** Wait until something is true of a chat client. */
export function until(chat: Chat, holds: () => unknown, ms = 60_000): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      stop();
    };
    const look = (): void => {
      if (!holds()) return;
      end();
      resolve();
    };
    const timer = setTimeout(() => {
      end();
      const { state, error } = chat.getConnection();
      reject(new Error(`still not so after ${ms} ms: ${holds}; connection: ${state} ${error?.code ?? ''}`));
    }, ms);
    const stop = chat.subscribe(look);
    look();
  });
}
