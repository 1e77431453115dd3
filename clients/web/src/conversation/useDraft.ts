import { useCallback, useState } from 'react';

import { local } from '../storage';
import { draftsOf } from './drafts';

type Change = (draft: string) => string;

/**
 * What the user has written but not sent in a chat. It survives a reload. `to` is the id of the chat; what was written
 * before there was one is kept under the name of the other user, and is moved.
 */
export function useDraft(userId: string, to: string, name: string): [string, (draft: string | Change) => void] {
  const key = keyOf(userId, to);
  const [draft, setDraft] = useState(() => {
    move(keyOf(userId, name), key);
    return local.getItem(key) ?? '';
  });
  const keep = useCallback(
    (change: string | Change) => {
      const text = typeof change === 'string' ? change : change(local.getItem(key) ?? '');
      setDraft(text);
      if (text) local.setItem(key, text);
      else local.removeItem(key);
    },
    [key],
  );
  return [draft, keep];
}

const keyOf = (userId: string, to: string): string => draftsOf(userId) + to;

function move(from: string, to: string): void {
  const text = from !== to && local.getItem(from);
  if (!text) return;
  if (!local.getItem(to)) local.setItem(to, text);
  local.removeItem(from);
}
