import type { ChatError, Conversation } from '@bbgram/chat';
import { useConnection } from '@bbgram/chat/react';
import { useEffect, useRef, type ReactNode } from 'react';

import { Avatar } from '../Avatar';
import type { Me } from '../ChatPage';
import type { ChatAddress } from '../chats/useOpenChat';
import { Icon, IconButton } from '../Icon';
import { presence } from '../presence';
import { useAttempt, type Attempt } from '../useAttempt';
import { Announcer } from './Announcer';
import { ChatMenu } from './ChatMenu';
import { ClosedBar, isClosed } from './ClosedBar';
import { Composer, type ComposerHandle } from './Composer';
import { MessageList } from './MessageList';
import { MessageMenu } from './MessageMenu';
import { useConversation } from './useConversation';
import { useMessageActions, type MessageActions } from './useMessageActions';

/** What the server calls every deleted user; nobody else can have this name. */
const DELETED_USER = 'Deleted user';

interface Props {
  address: ChatAddress;
  me: Me;
  onClose: () => void;
}

/** The open chat. */
export function ConversationPane({ address, me, onClose }: Props) {
  const { conversation, isLoaded, error, isGone } = useConversation(address);
  const name = conversation?.peer.username ?? address.username;
  const { attempt, problem, dismiss } = useAttempt();
  useEscape(onClose);

  if (isGone) return <NoChat onClose={onClose}>This chat has been deleted.</NoChat>;
  if (error && !conversation) return <NoChat onClose={onClose}>{explain(error, address.username)}</NoChat>;
  const shown = conversation && (isLoaded || conversation.messages.length > 0) ? conversation : undefined;
  return (
    <>
      <Header name={name} me={me} conversation={conversation} attempt={attempt} onClose={onClose} />
      {name === undefined ? (
        <Loading />
      ) : (
        <Talk to={address.chatId ?? name} name={name} me={me} conversation={shown} attempt={attempt} onClose={onClose}>
          {problem && (
            <p className="refused" role="alert">
              Not changed. {problem} <IconButton icon="close" label="Dismiss" onClick={dismiss} />
            </p>
          )}
        </Talk>
      )}
    </>
  );
}

interface TalkProps {
  to: string;
  name: string;
  me: Me;
  conversation: Conversation | undefined;
  attempt: Attempt;
  onClose: () => void;
  /** What stands between the messages and the composer. */
  children: ReactNode;
}

/** The messages, and where one is written. */
function Talk({ to, name, me, conversation, attempt, onClose, children }: TalkProps) {
  const composer = useRef<ComposerHandle>(null);
  const isDeleted = name === DELETED_USER;
  const closed = conversation && isClosed(conversation) ? conversation : undefined;
  const { actions, menu, closeMenu } = useMessageActions(to, me.id, composer, attempt);
  return (
    <>
      {conversation ? <Messages conversation={conversation} me={me.name} actions={isDeleted || closed ? undefined : actions} /> : <Loading />}
      {children}
      {isDeleted ? (
        <p className="composer note">This user has been deleted. Nobody can write to them.</p>
      ) : closed ? (
        <ClosedBar item={closed} attempt={attempt} onClose={onClose} />
      ) : (
        <Composer ref={composer} to={to} name={name} userId={me.id} onChange={actions.change} />
      )}
      {menu && <MessageMenu {...menu} actions={actions} onClose={closeMenu} />}
    </>
  );
}

const Loading = () => <p className="messages note">Loading…</p>;

interface MessagesProps {
  conversation: Conversation;
  me: string;
  actions: MessageActions | undefined;
}

function Messages({ conversation, me, actions }: MessagesProps) {
  return (
    <>
      {conversation.messages.length > 0 ? (
        <MessageList conversation={conversation} me={me} actions={actions} />
      ) : (
        <p className="messages note">No messages yet. Say hello.</p>
      )}
      <Announcer conversation={conversation} />
    </>
  );
}

function useEscape(onEscape: () => void): void {
  useEffect(() => {
    // A dialog is closed by itself, wherever the focus is.
    const isMeant = (event: KeyboardEvent) => !event.isComposing && !event.defaultPrevented && !document.querySelector('dialog[open]');
    const onKey = (event: KeyboardEvent) => event.key === 'Escape' && isMeant(event) && onEscape();
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [onEscape]);
}

function Header({
  name = '',
  me,
  conversation,
  attempt,
  onClose,
}: {
  name: string | undefined;
  me: Me;
  conversation: Conversation | undefined;
  attempt: Attempt;
  onClose: () => void;
}) {
  const isOffline = useConnection().state === 'offline';
  // A request is accepted first.
  const hasMenu = conversation?.chatId && (conversation.box === 'inbox' || conversation.box === 'archived');
  const canBlock = name !== DELETED_USER && conversation?.peer.userId !== me.id;
  return (
    <header className="bar">
      <IconButton icon="back" label="Back to the list of chats" className="bar__back" onClick={onClose} />
      <Avatar name={name} online={conversation?.peer.online} />
      <div className="bar__title">
        <h2>
          <bdi>{name}</bdi>
        </h2>
        <p className={`bar__presence${conversation?.typing ? ' typing' : ''}`}>
          {conversation && !isOffline && !isClosed(conversation) && presence(conversation)}
        </p>
      </div>
      {hasMenu && <ChatMenu item={conversation} canBlock={canBlock} attempt={attempt} />}
    </header>
  );
}

function NoChat({ children, onClose }: { children: ReactNode; onClose: () => void }) {
  return (
    <div className="nothing-open" role="alert">
      <Icon name="chat" />
      <p>{children}</p>
      <button type="button" className="button" onClick={onClose}>
        Back to the list of chats
      </button>
    </div>
  );
}

function explain(error: ChatError, username: string | undefined): ReactNode {
  if (error.code !== 'user_not_found' || username === undefined) return error.message;
  return (
    <>
      Nobody here is called “<bdi>{username}</bdi>”.
    </>
  );
}
