import type { ChatError, Conversation } from '@bbgram/chat';
import { useConnection } from '@bbgram/chat/react';
import { useEffect, useRef, type ReactNode } from 'react';

import { Avatar } from '../Avatar';
import type { Me } from '../ChatPage';
import type { ChatAddress } from '../chats/useOpenChat';
import { Icon, IconButton } from '../Icon';
import { presence } from '../presence';
import { Announcer } from './Announcer';
import { ClearChat } from './ClearChat';
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
  useEscape(onClose);

  if (isGone) return <NoChat onClose={onClose}>This chat has been deleted.</NoChat>;
  if (error && !conversation) return <NoChat onClose={onClose}>{explain(error, address.username)}</NoChat>;
  if (name === undefined) {
    return (
      <>
        <Header name={name} conversation={conversation} onClose={onClose} />
        <Loading />
      </>
    );
  }
  return <Talk to={address.chatId ?? name} name={name} me={me} conversation={conversation} isLoaded={isLoaded} onClose={onClose} />;
}

interface TalkProps {
  /** The id of the chat, or the name of the other user before there is one. */
  to: string;
  name: string;
  me: Me;
  conversation: Conversation | undefined;
  isLoaded: boolean;
  onClose: () => void;
}

/** Whose chat it is, the messages, and where one is written. */
function Talk({ to, name, me, conversation, isLoaded, onClose }: TalkProps) {
  const composer = useRef<ComposerHandle>(null);
  const isDeleted = name === DELETED_USER;
  const { actions, menu, closeMenu, problem, dismiss } = useMessageActions(to, me.id, composer);
  const shown = conversation && (isLoaded || conversation.messages.length > 0) ? conversation : undefined;
  return (
    <>
      <Header name={name} conversation={conversation} onClear={actions.clear} onClose={onClose} />
      {shown ? <Messages conversation={shown} me={me.name} actions={isDeleted ? undefined : actions} /> : <Loading />}
      {problem && (
        <p className="refused" role="alert">
          Not changed. {problem} <IconButton icon="close" label="Dismiss" onClick={dismiss} />
        </p>
      )}
      {isDeleted ? (
        <p className="composer note">This user has been deleted. Nobody can write to them.</p>
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
        <p className="messages note">{conversation.lastSeq > 0 ? 'No messages here.' : 'No messages yet. Say hello.'}</p>
      )}
      <Announcer conversation={conversation} />
    </>
  );
}

function useEscape(onEscape: () => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => event.key === 'Escape' && !event.isComposing && !event.defaultPrevented && onEscape();
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [onEscape]);
}

function Header({
  name = '',
  conversation,
  onClear,
  onClose,
}: {
  name: string | undefined;
  conversation: Conversation | undefined;
  onClear?: () => void;
  onClose: () => void;
}) {
  const isOffline = useConnection().state === 'offline';
  return (
    <header className="bar">
      <IconButton icon="back" label="Back to the list of chats" className="bar__back" onClick={onClose} />
      <Avatar name={name} online={conversation?.peer.online} />
      <div className="bar__title">
        <h2>
          <bdi>{name}</bdi>
        </h2>
        <p className={`bar__presence${conversation?.typing ? ' typing' : ''}`}>
          {conversation && !isOffline && presence(conversation)}
        </p>
      </div>
      {onClear && conversation?.messages.some(({ seq }) => seq !== undefined) && <ClearChat name={name} onClear={onClear} />}
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
