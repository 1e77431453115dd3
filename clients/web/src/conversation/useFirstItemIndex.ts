import { useRef } from 'react';

/** Higher than any chat is long. */
const START = 1_000_000_000;

/**
 * The virtual index of the first message. It falls by as many as are put in front, so that the list keeps its place
 * while older messages are loaded.
 */
export function useFirstItemIndex(messages: readonly { key: string }[]): number {
  const known = useRef({ key: messages[0]?.key, index: START });
  const first = messages[0]?.key;
  if (first !== known.current.key) {
    const added = messages.findIndex((message) => message.key === known.current.key);
    known.current = { key: first, index: known.current.index - Math.max(added, 0) };
  }
  return known.current.index;
}
