import type { ChatItem } from '@bbgram/chat';
import { useEffect } from 'react';

import { chatLink, isAt, type ChatAddress } from './useOpenChat';

/** Alt+Up and Alt+Down go to the chat above and below, Alt+N to the name of a new one. */
export function useChatKeys(items: readonly ChatItem[], open: ChatAddress | undefined): void {
  useEffect(() => {
    function onKey(event: KeyboardEvent) {
      if (!event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.code === 'KeyN') document.getElementById('new-chat')?.focus();
      else if (event.key === 'ArrowUp' || event.key === 'ArrowDown') go(event.key === 'ArrowUp' ? -1 : 1);
      else return;
      event.preventDefault();
    }

    function go(step: 1 | -1) {
      const at = items.findIndex((item) => isAt(open, item));
      const next = items[at === -1 ? 0 : at + step];
      if (next) location.hash = chatLink(next);
    }

    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [items, open]);
}
