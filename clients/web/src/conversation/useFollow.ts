import type { ChatMessage } from '@bbgram/chat';
import { useRef } from 'react';

/** Tells the list to go to the end for a new message: an own one always, another one if the end was visible. */
export function useFollow(messages: readonly ChatMessage[]): (isAtBottom: boolean) => 'auto' | false {
  // Own messages that could not be sent stay at the end.
  const newest = messages.findLast(({ seq }) => seq !== undefined)?.key;
  const last = messages.at(-1);
  const known = useRef({ newest, last: last?.key });
  return (isAtBottom) => {
    // It is called for older messages, too.
    const before = known.current;
    known.current = { newest, last: last?.key };
    const isOwn = last?.mine && last.key !== before.last;
    return isOwn || (isAtBottom && newest !== before.newest) ? 'auto' : false;
  };
}
