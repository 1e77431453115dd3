import { local } from '../storage';

/** Where the drafts of a user are kept: under this, and the chat. */
export const draftsOf = (userId: string): string => `bbgram-draft:${userId}:`;

/** Forgets what a user has written and not sent, on this browser. */
export function forgetDrafts(userId: string): void {
  for (const key of local.keys(draftsOf(userId))) local.removeItem(key);
}
