import { useChatClient, useConnection } from '@bbgram/chat/react';

import { forgetDrafts } from '../conversation/drafts';
import { forgetThisBrowser } from '../notifications/browser';
import type { Auth } from './auth';

/** Returns what signs out: this browser is no longer notified, and nothing of the user stays open or written here. */
export function useSignOut(auth: Auth, userId: string): () => Promise<void> {
  const chat = useChatClient();
  const { state } = useConnection();
  return async () => {
    const isConnected = state === 'live' || state === 'syncing';
    await forgetThisBrowser(isConnected ? chat : undefined, userId).catch(() => undefined);
    location.hash = '';
    forgetDrafts(userId);
    await auth.supabase.auth.signOut({ scope: 'local' });
  };
}
