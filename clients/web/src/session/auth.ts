import { createClient, type Session, type SupabaseClient } from '@supabase/supabase-js';

import type { Settings } from '../settings';
import { tab } from '../storage';

/** The signed-in user, and the newest access token. */
export interface Auth {
  readonly supabase: SupabaseClient;
  /** Signs in a user of the local stack without a password. */
  signInReadyMade(username: string): Promise<void>;
  /** The newest access token: what `createChat` calls at each connect and refresh. */
  token(): Promise<string>;
  /** Makes `token()` return, once, a token that expires in seconds. Only the local stack has such tokens. */
  expireSoon(): Promise<void>;
}

export function createAuth(settings: Settings): Auth {
  const supabase = createClient(settings.supabaseUrl, settings.supabaseKey, {
    auth: settings.local && { storage: tab, storageKey: tabKey(), detectSessionInUrl: false },
  });
  let shortLived: string | undefined;

  async function newest(): Promise<string> {
    const { data, error } = await supabase.auth.getSession();
    if (error) throw error;
    if (!data.session) {
      // It is gone from the browser's storage, which nothing tells: have the page ask who it is.
      await supabase.auth.signOut({ scope: 'local' });
      throw new Error('You have signed out.');
    }
    return data.session.access_token;
  }

  return {
    supabase,
    async signInReadyMade(username) {
      const session = await post<Session>(`./dev/sign-in/${encodeURIComponent(username)}`);
      const { error } = await supabase.auth.setSession(session);
      if (error) throw error;
    },
    async token() {
      const token = shortLived ?? (await newest());
      shortLived = undefined;
      return token;
    },
    async expireSoon() {
      const answer = await post<Session>('./dev/short-lived-token', await newest());
      shortLived = answer.access_token;
    },
  };
}

/** In the local stack each tab has its own session, so that one browser can show both sides of a chat. */
function tabKey(): string {
  const key = tab.getItem('bbgram-tab') ?? `bbgram-session-${crypto.randomUUID()}`;
  tab.setItem('bbgram-tab', key);
  return key;
}

async function post<T>(path: string, token?: string): Promise<T> {
  const headers: HeadersInit = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { method: 'POST', headers });
  if (!answer.ok) throw new Error('The local stack did not answer. Is `make run` still running?');
  return (await answer.json()) as T;
}
