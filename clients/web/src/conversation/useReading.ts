import type { ChatMessage, Conversation } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useCallback, useEffect, useRef, useState } from 'react';

const isLooking = (): boolean => document.visibilityState === 'visible' && document.hasFocus();

/**
 * Marks what the user sees as read. Returns the seq after which the unread messages begin, for the divider, which
 * stays until the user comes back to the window; and what to call with the index of the last visible message.
 */
export function useReading(conversation: Conversation): [dividerAfter: number, onSeen: (last: number) => void] {
  const chat = useChatClient();
  const latest = useRef(conversation);
  const lastSeen = useRef(-1);
  const [dividerAfter, setDividerAfter] = useState(conversation.unread > 0 ? conversation.readUpTo : Infinity);

  const mark = useCallback(() => {
    const { chatId, messages, readUpTo } = latest.current;
    const seq = seqAtOrBefore(messages, lastSeen.current);
    // A failure is no matter: it is tried again with the next message, or the next look.
    if (isLooking() && chatId && seq > readUpTo) chat.markRead(chatId, seq).catch(() => undefined);
  }, [chat]);

  useEffect(() => {
    latest.current = conversation;
    mark();
  }, [conversation, mark]);

  useEffect(() => {
    const onLeave = () => setDividerAfter(latest.current.lastSeq);
    addEventListener('focus', mark);
    addEventListener('blur', onLeave);
    document.addEventListener('visibilitychange', mark);
    return () => {
      removeEventListener('focus', mark);
      removeEventListener('blur', onLeave);
      document.removeEventListener('visibilitychange', mark);
    };
  }, [mark]);

  const onSeen = useCallback(
    (last: number) => {
      lastSeen.current = last;
      mark();
    },
    [mark],
  );
  return [dividerAfter, onSeen];
}

function seqAtOrBefore(messages: readonly ChatMessage[], index: number): number {
  for (let at = Math.min(index, messages.length - 1); at >= 0; at--) {
    const seq = messages[at]?.seq;
    if (seq) return seq;
  }
  return 0;
}
