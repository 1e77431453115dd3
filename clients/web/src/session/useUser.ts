import type { User } from '@supabase/supabase-js';
import { useEffect, useState } from 'react';

import type { Auth } from './auth';

/** The signed-in user; null if nobody is signed in, undefined until that is known. */
export function useUser(auth: Auth): User | null | undefined {
  const [user, setUser] = useState<User | null>();
  useEffect(() => {
    const { data } = auth.supabase.auth.onAuthStateChange((_, session) => {
      // A refreshed token is the same user: the chat goes on.
      setUser((known) => (known && known.id === session?.user.id ? known : (session?.user ?? null)));
    });
    return () => data.subscription.unsubscribe();
  }, [auth]);
  return user;
}
