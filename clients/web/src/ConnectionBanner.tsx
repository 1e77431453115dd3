import type { ChatError, Connection } from '@bbgram/chat';
import { useChatClient, useConnection } from '@bbgram/chat/react';

import type { Auth } from './session/auth';
import { useSignOut } from './session/useSignOut';
import { useForbidden } from './useForbidden';

const OFFLINE = 'You are offline.';

interface Props {
  auth: Auth;
  userId: string;
}

/** Says when there is no connection, and what that means. Always there, so that screen readers hear a change. */
export function ConnectionBanner({ auth, userId }: Props) {
  const connection = useConnection();
  const text = words(connection, useForbidden());
  return (
    <div className={`banner banner--${connection.state}`} role="status">
      {text}
      {connection.state === 'refused' && <RefusedActions auth={auth} userId={userId} />}
    </div>
  );
}

function words({ state, error }: Connection, forbidden: string | undefined): string {
  switch (state) {
    case 'offline':
      return `${whyOffline(error, forbidden)} What you write is sent when the connection is back.`;
    case 'syncing':
      return error ? `Some messages are still missing: ${error.message}` : '';
    case 'connecting':
      return 'Connecting…';
    case 'refused':
      return `The chat does not let you in: ${error?.message ?? 'sign in again.'}`;
    default:
      return '';
  }
}

function whyOffline(error: ChatError | undefined, forbidden: string | undefined): string {
  if (error?.code === 'token_failed') return sentence(`There is no access token: ${(error.cause as Error).message}`);
  if (error && error.code !== 'disconnected') return sentence(error.message);
  if (!error?.cause || !navigator.onLine) return OFFLINE;
  return forbidden ? `The content security policy of this page forbids ${forbidden}.` : 'The chat does not answer.';
}

const sentence = (text: string): string => text.replace(/\.?$/, '.');

function RefusedActions({ auth, userId }: Props) {
  const chat = useChatClient();
  const signOut = useSignOut(auth, userId);
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
