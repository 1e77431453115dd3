import { createChat, indexedDBStorage, type Chat } from '@bbgram/chat';
import { ChatProvider } from '@bbgram/chat/react';
import type { User } from '@supabase/supabase-js';
import { useEffect, useState } from 'react';

import { ChatPage } from './ChatPage';
import { WireLog } from './developer/WireLog';
import type { Auth } from './session/auth';
import { SignIn } from './session/SignIn';
import { useUser } from './session/useUser';
import type { Settings } from './settings';

/** The page: signing in, or the chat of the signed-in user. */
export function App({ auth, settings }: { auth: Auth; settings: Settings }) {
  const user = useUser(auth);
  if (user === undefined) return null;
  if (user === null) return <SignIn auth={auth} settings={settings} />;
  return <SignedIn key={user.id} auth={auth} settings={settings} user={user} />;
}

function SignedIn({ auth, settings, user }: { auth: Auth; settings: Settings; user: User }) {
  const [session, setSession] = useState<{ chat: Chat; wire: WireLog }>();
  useEffect(() => {
    const chat = createChat({
      url: settings.chatUrl,
      token: auth.token,
      storage: indexedDBStorage(`bbgram-${user.id}`),
    });
    const wire = new WireLog(chat);
    chat.connect();
    setSession({ chat, wire });
    return () => {
      wire.close();
      void chat.close();
    };
  }, [auth, settings, user.id]);

  if (!session) return null;
  const name = String(user.user_metadata.username ?? user.email ?? '');
  return (
    <ChatProvider chat={session.chat}>
      <ChatPage auth={auth} settings={settings} me={{ id: user.id, name }} wire={session.wire} />
    </ChatProvider>
  );
}
