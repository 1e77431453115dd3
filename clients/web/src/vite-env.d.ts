/// <reference types="vite/client" />

interface ImportMetaEnv {
  /** Address of the chat. */
  readonly VITE_CHAT_URL?: string;
  readonly VITE_SUPABASE_URL?: string;
  readonly VITE_SUPABASE_ANON_KEY?: string;
  /** Public VAPID key, for notifications. */
  readonly VITE_VAPID_PUBLIC_KEY?: string;
}
