import type { ChatMessage } from '@bbgram/chat';
import { useRef } from 'react';

/** Tells the list to go to the end for a new message: an own one always, another one if the end was visible. */
export function useFollow(messages: readonly ChatMessage[]): (isAtBottom: boolean) => 'auto' | false {
  const newest = messages.at(-1);
  const known = useRef(newest?.key);
  return (isAtBottom) => {
    // It is called for older messages, too.
    const isNew = newest?.key !== known.current;
    known.current = newest?.key;
    return isNew && (isAtBottom || newest?.mine) ? 'auto' : false;
  };
}
