import type { ChatMessage, Conversation } from '@bbgram/chat';
import { useEffect, useRef, useState } from 'react';

/** Reads new messages of the other user to screen readers. The list itself cannot: scrolling changes it. */
export function Announcer({ conversation: { messages, peer } }: { conversation: Conversation }) {
  const [said, setSaid] = useState<readonly ChatMessage[]>([]);
  const newest = messages.findLast(({ seq }) => seq !== undefined)?.seq ?? 0;
  const heard = useRef(newest);
  useEffect(() => {
    const fresh = messages.filter(({ seq = 0, mine }) => seq > heard.current && !mine);
    heard.current = Math.max(heard.current, newest);
    if (fresh.length) setSaid(fresh);
  }, [messages, newest]);
  return (
    <div className="visually-hidden" role="log" aria-label="New messages">
      {said.map(({ key, text }) => (
        <p key={key}>
          {peer.username}: {text}
        </p>
      ))}
    </div>
  );
}
