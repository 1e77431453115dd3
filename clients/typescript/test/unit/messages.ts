import type { Message } from '../../src/index.js';

/** Return a message as the server sends it. */
export function message(seq: number, fields: Partial<Message> = {}): Message {
  return {
    id: `id-${seq}`,
    chatId: 'chat',
    seq,
    senderId: 'bob-id',
    senderUsername: 'bob',
    recipientId: 'alice-id',
    recipientUsername: 'alice',
    text: `text ${seq}`,
    createdAt: new Date(Date.UTC(2026, 0, 1) + seq).toISOString(),
    status: 'sent',
    ...fields,
  };
}

/** Return the messages from one seq to another. */
export function run(first: number, last: number): Message[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, place) => message(first + place));
}
