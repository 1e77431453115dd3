import { useState } from 'react';

/** What the user has written but not sent in a chat. It survives a reload. */
export function useDraft(userId: string, username: string): [string, (text: string) => void] {
  const key = `bbgram-draft:${userId}:${username}`;
  const [draft, setDraft] = useState(() => localStorage.getItem(key) ?? '');
  function keep(text: string) {
    setDraft(text);
    if (text) localStorage.setItem(key, text);
    else localStorage.removeItem(key);
  }
  return [draft, keep];
}
