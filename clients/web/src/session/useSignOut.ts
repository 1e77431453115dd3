import { useChatClient, useConnection } from '@bbgram/chat/react';

import { forgetThisBrowser } from '../notifications/browser';
import type { Auth } from './auth';

/** Returns what signs out: this browser is no longer notified, and nothing of the user stays open. */
export function useSignOut(auth: Auth): () => Promise<void> {
  const chat = useChatClient();
  const isLive = useConnection().state === 'live';
  return async () => {
    await forgetThisBrowser(isLive ? chat : undefined);
    location.hash = '';
    await auth.supabase.auth.signOut({ scope: 'local' });
  };
}
