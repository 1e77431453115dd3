import type { Plugin } from 'vite';

/** The local stack sends the page with a header that names the one address of its chat, which a build cannot know. */
const LOCAL = ['http:', 'ws:'];

/** Puts a content security policy into the page: it loads nothing but avatars from elsewhere, and connects to its chat and sign-in only. */
export function contentSecurityPolicy(): Plugin {
  let servers = LOCAL;
  return {
    name: 'content-security-policy',
    apply: 'build',
    configResolved({ env: { VITE_CHAT_URL, VITE_SUPABASE_URL } }) {
      if (!VITE_CHAT_URL || !VITE_SUPABASE_URL) return;
      const chat = new URL(VITE_CHAT_URL).origin;
      servers = [chat, chat.replace('http', 'ws'), new URL(VITE_SUPABASE_URL).origin];
    },
    transformIndexHtml: () => [
      { tag: 'meta', injectTo: 'head-prepend', attrs: { 'http-equiv': 'Content-Security-Policy', content: policy(servers) } },
    ],
  };
}

const policy = (servers: readonly string[]): string =>
  [
    "default-src 'self'",
    "img-src 'self' data: https:",
    `connect-src 'self' ${servers.join(' ')}`,
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
  ].join('; ');
