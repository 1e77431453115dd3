import { useState } from 'react';

import { local } from '../storage';

/**
 * What the user has written but not sent in a chat. It survives a reload. `to` is the id of the chat; what was written
 * before there was one is kept under the name of the other user, and is moved.
 */
export function useDraft(userId: string, to: string, name: string): [string, (text: string) => void] {
  const [draft, setDraft] = useState(() => {
    move(keyOf(userId, name), keyOf(userId, to));
    return local.getItem(keyOf(userId, to)) ?? '';
  });
  function keep(text: string) {
    setDraft(text);
    if (text) local.setItem(keyOf(userId, to), text);
    else local.removeItem(keyOf(userId, to));
  }
  return [draft, keep];
}

const keyOf = (userId: string, to: string): string => `bbgram-draft:${userId}:${to}`;

function move(from: string, to: string): void {
  const text = from !== to && local.getItem(from);
  if (!text) return;
  if (!local.getItem(to)) local.setItem(to, text);
  local.removeItem(from);
}
