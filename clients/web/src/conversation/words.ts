import type { ChatMessage } from '@bbgram/chat';

/** Whether a message has a text to show. */
export const hasText = ({ text, deletedAt }: ChatMessage): boolean => !deletedAt && text !== '';

/** The text of a message, or what is said instead. Other apps may send data that this page does not know. */
export function wordsOf({ text, deletedAt }: ChatMessage): string {
  return deletedAt ? 'Message deleted' : text || 'Sent something that this page cannot show';
}
