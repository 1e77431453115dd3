import { useConnection } from '@bbgram/chat/react';
import { useState } from 'react';

import { ConnectionBanner } from './ConnectionBanner';
import { ChatListPane } from './chats/ChatListPane';
import { useOpenChat } from './chats/useOpenChat';
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
  const [open, setOpen] = useOpenChat();
  const [panel, setPanel] = useState(() => settings.local !== undefined && innerWidth >= 1100);
  const [isOnline, setIsOnline] = useState(true);
  const connection = useConnection();
  const me = { ...signedIn, name: connection.username ?? signedIn.name };
  const classes = ['page', open && 'page--open', panel && 'page--panel', connection.state === 'offline' && 'page--offline'];

  return (
    <div className={classes.filter(Boolean).join(' ')}>
      <ConnectionBanner auth={auth} />
      <ChatListPane me={me} open={open} auth={auth} settings={settings} panel={panel} onPanel={() => setPanel(!panel)} />
      <main className="pane pane--conversation">
        {open ? <ConversationPane key={open} username={open} me={me} onClose={() => setOpen(undefined)} /> : <NothingOpen />}
      </main>
      {panel && (
        <DeveloperPanel
          auth={auth}
          wire={wire}
          username={open}
          isLocal={settings.local !== undefined}
          isOnline={isOnline}
          onOnline={setIsOnline}
          onClose={() => setPanel(false)}
        />
      )}
    </div>
  );
}

function NothingOpen() {
  return (
    <div className="nothing-open">
      <Icon name="chat" />
      <p>Choose a chat, or start one.</p>
    </div>
  );
}
