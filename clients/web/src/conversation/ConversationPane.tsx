import type { ChatError, Conversation } from '@bbgram/chat';
import { useChat, useChatClient, useConnection } from '@bbgram/chat/react';
import { useEffect, useState, type ReactNode } from 'react';

import { Avatar } from '../Avatar';
import type { Me } from '../ChatPage';
import { Icon, IconButton } from '../Icon';
import { presence } from '../presence';
import { Announcer } from './Announcer';
import { Composer } from './Composer';
import { MessageList } from './MessageList';

interface Props {
  username: string;
  me: Me;
  onClose: () => void;
}

/** The open chat. */
export function ConversationPane({ username, me, onClose }: Props) {
  const conversation = useChat(username);
  const { isLoaded, error, isGone } = useOpened(username, conversation);
  useEscape(onClose);

  if (isGone) return <NoChat onClose={onClose}>This chat has been deleted.</NoChat>;
  if (error && !conversation) return <NoChat onClose={onClose}>{explain(error, username)}</NoChat>;
  const shown = conversation && (isLoaded || conversation.messages.length > 0) ? conversation : undefined;
  return (
    <>
      <Header username={username} conversation={conversation} onClose={onClose} />
      {shown ? <Messages conversation={shown} me={me.name} /> : <p className="messages note">Loading…</p>}
      <Composer username={conversation?.peer.username ?? username} userId={me.id} />
    </>
  );
}

function Messages({ conversation, me }: { conversation: Conversation; me: string }) {
  return (
    <>
      {conversation.messages.length > 0 ? (
        <MessageList conversation={conversation} me={me} />
      ) : (
        <p className="messages note">No messages yet. Say hello.</p>
      )}
      <Announcer conversation={conversation} />
    </>
  );
}

interface Opened {
  isLoaded: boolean;
  error?: ChatError;
}

/** Opens the chat, as soon as there is a connection. One that is gone is opened again when there is something in it. */
function useOpened(username: string, conversation: Conversation | undefined): Opened & { isGone: boolean } {
  const chat = useChatClient();
  const [opened, setOpened] = useState<Opened>({ isLoaded: false });
  const isGone = opened.isLoaded && !conversation;
  useEffect(() => {
    if (isGone) return;
    let isCurrent = true;
    chat.open(username).then(
      () => isCurrent && setOpened({ isLoaded: true }),
      (error: ChatError) => isCurrent && setOpened({ isLoaded: false, error }),
    );
    return () => {
      isCurrent = false;
    };
  }, [chat, username, isGone]);
  return { ...opened, isGone };
}

function useEscape(onEscape: () => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => event.key === 'Escape' && !event.isComposing && !event.defaultPrevented && onEscape();
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [onEscape]);
}

function Header({
  username,
  conversation,
  onClose,
}: {
  username: string;
  conversation: Conversation | undefined;
  onClose: () => void;
}) {
  const name = conversation?.peer.username ?? username;
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

function explain(error: ChatError, username: string): ReactNode {
  if (error.code !== 'user_not_found') return error.message;
  return (
    <>
      Nobody here is called “<bdi>{username}</bdi>”.
    </>
  );
}
