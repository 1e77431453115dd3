import type { Connection } from '@bbgram/chat';
import { useChatClient, useConnection } from '@bbgram/chat/react';

import type { Auth } from './session/auth';
import { useSignOut } from './session/useSignOut';

/** Says when there is no connection, and what that means. Always there, so that screen readers hear a change. */
export function ConnectionBanner({ auth }: { auth: Auth }) {
  const connection = useConnection();
  const text = words(connection);
  return (
    <div className={`banner banner--${connection.state}`} role="status">
      {text}
      {connection.state === 'refused' && <RefusedActions auth={auth} />}
    </div>
  );
}

function words({ state, error }: Connection): string {
  switch (state) {
    case 'offline':
      return 'You are offline. What you write is sent when the connection is back.';
    case 'connecting':
      return 'Connecting…';
    case 'refused':
      return `The chat does not let you in: ${error?.message ?? 'sign in again.'}`;
    default:
      return '';
  }
}

function RefusedActions({ auth }: { auth: Auth }) {
  const chat = useChatClient();
  const signOut = useSignOut(auth);
  return (
    <>
      <button type="button" onClick={() => chat.connect()}>
        Try again
      </button>
      <button type="button" onClick={() => void signOut()}>
        Sign out
      </button>
    </>
  );
}
