import { useChatClient, useConnection } from '@bbgram/chat/react';

import { forgetDrafts } from '../conversation/drafts';
import { forgetThisBrowser } from '../notifications/browser';
import type { Auth } from './auth';

/** Returns what signs out: this browser is no longer notified, and nothing of the user stays open or written here. */
export function useSignOut(auth: Auth): () => Promise<void> {
  const chat = useChatClient();
  const { state, userId } = useConnection();
  return async () => {
    await forgetThisBrowser(state === 'live' ? chat : undefined).catch(() => undefined);
    location.hash = '';
    if (userId) forgetDrafts(userId);
    await auth.supabase.auth.signOut({ scope: 'local' });
  };
}
