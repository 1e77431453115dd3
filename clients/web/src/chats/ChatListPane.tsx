import { useChatClient, useChats, useConnection } from '@bbgram/chat/react';
import { useState } from 'react';
import { flushSync } from 'react-dom';
import { Virtuoso } from 'react-virtuoso';

import { Avatar } from '../Avatar';
import type { Me } from '../ChatPage';
import { IconButton } from '../Icon';
import { useNotifications } from '../notifications/useNotifications';
import { SettingsDialog } from '../privacy/SettingsDialog';
import type { Auth } from '../session/auth';
import { useSignOut } from '../session/useSignOut';
import type { Settings } from '../settings';
import { BoxRows, BoxTitle, NothingIn, type OtherBox } from './BoxRows';
import { ChatRow } from './ChatRow';
import { NewChat } from './NewChat';
import { UnreadTotal } from './Unread';
import { useChatKeys } from './useChatKeys';
import { isAt, type ChatAddress } from './useOpenChat';

interface Props {
  me: Me;
  open: ChatAddress | undefined;
  auth: Auth;
  settings: Settings;
  panel: boolean;
  onPanel: () => void;
}

/** All chats, pinned ones first, then newest activity; or those of another box. */
export function ChatListPane({ me, open, auth, settings, panel, onPanel }: Props) {
  const chat = useChatClient();
  const signOut = useSignOut(auth, me.id);
  const [box, setBox] = useState<OtherBox>();
  const [hasSettings, setHasSettings] = useState(false);
  const { items, hasMore } = useChats(box);
  const isKnown = useIsKnown();
  const notifications = useNotifications(me.id, settings.vapidKey);
  useChatKeys(items, open);

  function leave() {
    flushSync(() => setBox(undefined));
    document.getElementById(`box-${box}`)?.focus();
  }

  return (
    <>
      <nav className="pane pane--list" aria-label="Chats">
        <header className="bar">
          <div className="bar__me">
            <Avatar user={{ username: me.name }} />
            <UnreadTotal />
          </div>
          <h1 className="bar__title">
            <bdi>{me.name}</bdi>
          </h1>
          {notifications.canAsk && (
            <IconButton icon="bell" label="Notify me while I am away" onClick={() => void notifications.ask()} />
          )}
          <IconButton icon="settings" label="Settings" onClick={() => setHasSettings(true)} />
          <IconButton icon="code" label="Developer's panel" pressed={panel} onClick={onPanel} />
          <IconButton icon="leave" label="Sign out" onClick={() => void signOut()} />
        </header>
        <p className="error error--line" role="alert">
          {notifications.problem}
        </p>
        {box ? (
          <BoxTitle box={box} onLeave={leave} />
        ) : (
          <>
            <NewChat
              suggestions={items.length === 0 && isKnown ? (settings.local?.readyMade ?? []).filter((name) => name !== me.name) : []}
            />
            <BoxRows onOpen={setBox} />
          </>
        )}
        {box && isKnown && items.length === 0 && !hasMore && <NothingIn box={box} />}
        <Virtuoso
          key={box}
          className="chats"
          data={items}
          computeItemKey={(_, item) => item.peer.userId || item.peer.username}
          endReached={() => void (hasMore && chat.loadMoreChats(box))}
          itemContent={(_, item) => <ChatRow item={item} isOpen={isAt(open, item)} />}
        />
      </nav>
      {/* Not in the pane, which a phone hides behind the chat. */}
      {hasSettings && <SettingsDialog onClose={() => setHasSettings(false)} />}
    </>
  );
}

/** Whether it is known which chats there are: before that, no chats are no news. */
function useIsKnown(): boolean {
  const [isKnown, setIsKnown] = useState(false);
  const isLive = useConnection().state === 'live';
  if (isLive && !isKnown) setIsKnown(true);
  return isKnown;
}
