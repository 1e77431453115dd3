import type { Chat, ChatItem } from '@bbgram/chat';

/** Blocks the other user of a chat. With the block, a message request is none any more. */
export function block(chat: Chat, { chatId, box, peer }: ChatItem): Promise<unknown> {
  const to = chatId ?? peer.username;
  return Promise.all([chat.block(to), box === 'requests' && chat.decline(to)]);
}
