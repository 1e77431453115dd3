import type { ChatItem } from '@bbgram/chat';

import { clock, day } from './time';

/** What the other user does: typing, online, or when they were last here. */
export function presence({ peer, typing }: ChatItem): string {
  if (typing) return 'typing…';
  if (peer.online) return 'online';
  if (!peer.lastSeen) return 'offline';
  const when = day(peer.lastSeen);
  return `last seen ${when === 'Today' ? 'at' : `${when.replace('Yesterday', 'yesterday')},`} ${clock(peer.lastSeen)}`;
}
