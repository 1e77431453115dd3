import { useSyncExternalStore } from 'react';

let forbidden: string | undefined;
const listeners = new Set<() => void>();

// From the start: the page may be refused its chat before anything is shown.
document.addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) => {
  if (effectiveDirective !== 'connect-src') return;
  forbidden = new URL(blockedURI).origin;
  for (const listener of listeners) listener();
});

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The last server that the page's content security policy forbade it to connect to; browsers tell the connection no reason. */
export const useForbidden = (): string | undefined => useSyncExternalStore(subscribe, () => forbidden);
