import type { ChatItem } from '@bbgram/chat';

/** Whether the user is notified of no message of a chat now. */
export function isMuted({ mutedUntil }: ChatItem): boolean {
  return mutedUntil !== undefined && Date.parse(mutedUntil) > Date.now();
}
