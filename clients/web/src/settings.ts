/** Where the chat and its sign-in service are. */
export interface Settings {
  chatUrl: string;
  supabaseUrl: string;
  supabaseKey: string;
  /** Public VAPID key of the deployment. Without one there are no notifications. */
  vapidKey?: string;
  /** The local stack, if the page is served by one. */
  local?: LocalStack;
}

export interface LocalStack {
  /** Users who sign in with one click. */
  readyMade: readonly string[];
}

const { VITE_CHAT_URL, VITE_SUPABASE_URL, VITE_SUPABASE_ANON_KEY, VITE_VAPID_PUBLIC_KEY } = import.meta.env;

/** Reads the `VITE_` settings of the build; without them, asks the local stack that serves this page. */
export async function loadSettings(): Promise<Settings> {
  if (VITE_CHAT_URL && VITE_SUPABASE_URL && VITE_SUPABASE_ANON_KEY) {
    return {
      chatUrl: VITE_CHAT_URL,
      supabaseUrl: VITE_SUPABASE_URL,
      supabaseKey: VITE_SUPABASE_ANON_KEY,
      vapidKey: VITE_VAPID_PUBLIC_KEY,
    };
  }
  const answer = await fetch('./dev/config.json').catch(() => undefined);
  if (!answer?.ok) {
    throw new Error(
      'This page does not know its chat. Start it with `make run`, or build it with VITE_CHAT_URL, VITE_SUPABASE_URL and VITE_SUPABASE_ANON_KEY.',
    );
  }
  const { chatUrl, vapidKey, readyMade } = (await answer.json()) as { chatUrl: string; vapidKey: string | null; readyMade: string[] };
  return {
    chatUrl,
    supabaseUrl: location.origin,
    supabaseKey: 'local',
    vapidKey: vapidKey ?? VITE_VAPID_PUBLIC_KEY,
    local: { readyMade },
  };
}
