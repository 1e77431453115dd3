import type { Conversation } from '@bbgram/chat';
import { useEffect, useRef, useState } from 'react';

/** Reads new messages of the other user to screen readers. The list itself cannot: scrolling changes it. */
export function Announcer({ conversation: { messages, peer } }: { conversation: Conversation }) {
  const [said, setSaid] = useState<{ key: string; text: string }>();
  const newest = messages.at(-1);
  const heard = useRef(newest?.seq ?? 0);
  useEffect(() => {
    if (!newest?.seq || newest.seq <= heard.current) return;
    heard.current = newest.seq;
    if (!newest.mine) setSaid(newest);
  }, [newest]);
  return (
    <div className="visually-hidden" role="log" aria-label="New messages">
      {said && (
        <p key={said.key}>
          {peer.username}: {said.text}
        </p>
      )}
    </div>
  );
}
