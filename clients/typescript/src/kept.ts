import type { Draft } from './drafts.js';
import { ChatError, type ChatErrorCode } from './errors.js';

/** A draft as it is kept: errors do not survive a structured clone. */
export type Kept = Omit<Draft, 'error'> & { error?: { code: ChatErrorCode; message: string } };

/** Kept in the place of a draft that is done with; without one, a draft that is missing was thrown away by the browser. */
export interface Done {
  readonly clientId: string;
  readonly order: number;
  /** When no tab can have the draft any more, in milliseconds since the epoch. */
  readonly doneUntil: number;
}

/** What is kept of a message. */
export type Entry = Kept | Done;

/** The message is stored: nobody can retry it. The other tabs hear of it at once. */
export const stored = (clientId: string): Done => done(clientId, Number.MAX_SAFE_INTEGER, 60_000);

/** The user has discarded the message. A tab in the background may hear of it late. */
export const discarded = ({ clientId, order }: Draft): Done => done(clientId, order, 86_400_000);

/** Whether a message is done with. */
export function isDone(entry: Draft | Entry): entry is Done {
  return 'doneUntil' in entry;
}

/** Whether one state of a message comes after another: it is sent, then it fails, then it is done with, unless it is sent anew. */
export function isNewer(one: Draft | Entry, other: Draft | Entry | undefined): boolean {
  return !other || one.order > other.order || (one.order === other.order && rank(one) > rank(other));
}

/** Return a draft in the form in which it is kept. */
export function keep(draft: Draft): Kept {
  const { error, ...kept } = draft;
  return error ? { ...kept, error: { code: error.code, message: error.message } } : kept;
}

/** Return the draft that was kept. */
export function restore(kept: Kept): Draft {
  return { ...kept, error: kept.error && new ChatError(kept.error.code, kept.error.message) };
}

function done(clientId: string, order: number, ms: number): Done {
  return { clientId, order, doneUntil: Date.now() + ms };
}

function rank(entry: Draft | Entry): number {
  return isDone(entry) ? 2 : Number(entry.isFailed);
}
