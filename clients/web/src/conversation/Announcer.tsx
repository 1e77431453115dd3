import type { ChatMessage, Conversation } from '@bbgram/chat';
import { useEffect, useRef, useState } from 'react';

import { nameOf } from '../Avatar';

import { wordsOf } from './words';

/** Reads new messages of the other user to screen readers. The list itself cannot: scrolling changes it. */
export function Announcer({ conversation: { messages, peer } }: { conversation: Conversation }) {
  const [said, setSaid] = useState<readonly ChatMessage[]>([]);
  const heard = useRef(newestSeq(messages));
  useEffect(() => {
    // What was heard before is at the beginning, and may be long.
    const known = messages.findLastIndex(({ seq }) => seq !== undefined && seq <= heard.current);
    const fresh = messages.slice(known + 1).filter(({ seq, mine, deletedAt }) => seq !== undefined && !mine && !deletedAt);
    heard.current = Math.max(heard.current, newestSeq(messages));
    if (fresh.length) setSaid(fresh);
    // What was taken back or cleared stays nowhere.
    else setSaid((said) => present(said, messages));
  }, [messages]);
  return (
    <div className="visually-hidden" role="log" aria-label="New messages">
      {said.map((message) => (
        <p key={message.key}>
          {!message.kind && `${nameOf(peer)}: `}
          {wordsOf(message)}
        </p>
      ))}
    </div>
  );
}

/** What was said and is still there. The same list, if that is all of it. */
function present(said: readonly ChatMessage[], messages: readonly ChatMessage[]): readonly ChatMessage[] {
  if (!said.length) return said;
  const known = new Set(messages.filter(({ deletedAt }) => !deletedAt).map(({ key }) => key));
  const left = said.filter(({ key }) => known.has(key));
  return left.length < said.length ? left : said;
}

const newestSeq = (messages: readonly ChatMessage[]): number => messages.findLast(({ seq }) => seq !== undefined)?.seq ?? 0;
