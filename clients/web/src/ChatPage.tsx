import { useChatClient, useConnection } from '@bbgram/chat/react';
import { useState, useSyncExternalStore } from 'react';

import { ConnectionBanner } from './ConnectionBanner';
import { ChatListPane } from './chats/ChatListPane';
import { useOpenChat, type ChatAddress } from './chats/useOpenChat';
import { ConversationPane } from './conversation/ConversationPane';
import { DeveloperPanel } from './developer/DeveloperPanel';
import type { WireLog } from './developer/WireLog';
import { Icon } from './Icon';
import type { Auth } from './session/auth';
import type { Settings } from './settings';

/** Who is signed in. */
export interface Me {
  id: string;
  name: string;
}

interface Props {
  auth: Auth;
  settings: Settings;
  me: Me;
  wire: WireLog;
}

/** The list of chats, the open chat, and the developer's panel. On a phone, one of them at a time. */
export function ChatPage({ auth, settings, me: signedIn, wire }: Props) {
  const [open, close] = useOpenChat();
  const peer = usePeer(open);
  const [panel, setPanel] = useState(() => settings.local !== undefined && innerWidth >= 1100);
  const [isOnline, setIsOnline] = useState(true);
  const connection = useConnection();
  const me = { ...signedIn, name: connection.username ?? signedIn.name };
  const classes = ['page', open && 'page--open', panel && 'page--panel', connection.state === 'offline' && 'page--offline'];

  return (
    <div className={classes.filter(Boolean).join(' ')}>
      <ConnectionBanner auth={auth} userId={me.id} />
      <ChatListPane me={me} open={open} auth={auth} settings={settings} panel={panel} onPanel={() => setPanel(!panel)} />
      <main className="pane pane--conversation">
        {open ? <ConversationPane key={open.chatId ?? open.username} address={open} me={me} onClose={close} /> : <NothingOpen />}
      </main>
      {panel && (
        <DeveloperPanel
          auth={auth}
          wire={wire}
          peer={peer}
          isLocal={settings.local !== undefined}
          isOnline={isOnline}
          onOnline={setIsOnline}
          onClose={() => setPanel(false)}
        />
      )}
    </div>
  );
}

/** The name of the other user in the open chat, as far as it is known. */
function usePeer(open: ChatAddress | undefined): string | undefined {
  const chat = useChatClient();
  const find = () => open && (chat.getConversation(open.chatId ?? open.username)?.peer.username ?? open.username);
  return useSyncExternalStore(chat.subscribe, find);
}

function NothingOpen() {
  return (
    <div className="nothing-open">
      <Icon name="chat" />
      <p>Choose a chat, or start one.</p>
    </div>
  );
}
