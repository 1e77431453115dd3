import type { ChatError, Conversation } from '@bbgram/chat';
import { useConnection } from '@bbgram/chat/react';
import { useEffect, useRef, type ReactNode } from 'react';

import { Avatar, nameOf, type ShownUser } from '../Avatar';
import type { Me } from '../ChatPage';
import type { ChatAddress } from '../chats/useOpenChat';
import { Icon, IconButton } from '../Icon';
import { presence } from '../presence';
import { useAttempt } from '../useAttempt';
import { Announcer } from './Announcer';
import { ChatMenu } from './ChatMenu';
import { ClearChat } from './ClearChat';
import { ClosedBar, isClosed } from './ClosedBar';
import { Composer, type ComposerHandle } from './Composer';
import { MessageList } from './MessageList';
import { MessageMenu } from './MessageMenu';
import { ReportDialog, useReports } from './Report';
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
  const shownName = conversation ? nameOf(conversation.peer) : name;
  const { attempt, problem, dismiss } = useAttempt();
  const shown = conversation && (isLoaded || conversation.messages.length > 0) ? conversation : undefined;
  const closed = shown && isClosed(shown) ? shown : undefined;
  const { actions, menu, closeMenu, reported, closeReport } = useMessageActions(to, me.id, !closed, composer, attempt);
  // As it is now: it may be taken back meanwhile.
  const reportedNow = reported && shown?.messages.find(({ key }) => key === reported.key);
  const reports = useReports();
  // A request is accepted first.
  const hasMenu = conversation?.chatId && (conversation.box === 'inbox' || conversation.box === 'archived');
  return (
    <>
      <Header name={name} conversation={conversation} onClose={onClose}>
        {conversation?.messages.some(({ seq }) => seq !== undefined) && <ClearChat name={shownName} onClear={actions.clear} />}
        {hasMenu && <ChatMenu item={conversation} canBlock={!isDeleted && conversation.peer.userId !== me.id} attempt={attempt} />}
      </Header>
      {shown ? <Messages conversation={shown} me={me.name} actions={isDeleted ? undefined : actions} /> : <Loading />}
      {problem && (
        <Line isRefused onDismiss={dismiss}>
          Not changed. {problem}
        </Line>
      )}
      {/* Always there, so that what it says later is read out. */}
      <div aria-live="polite">
        {reports.outcome && !reports.outcome.isRefused && <Line onDismiss={reports.dismiss}>{reports.outcome.words}</Line>}
      </div>
      {reports.outcome?.isRefused && (
        <Line isRefused onDismiss={reports.dismiss}>
          {reports.outcome.words}
        </Line>
      )}
      {isDeleted ? (
        <p className="composer note">This user has been deleted. Nobody can write to them.</p>
      ) : closed ? (
        <ClosedBar item={closed} attempt={attempt} onClose={onClose} />
      ) : (
        <Composer ref={composer} to={to} name={name} shownName={shownName} userId={me.id} onChange={actions.change} />
      )}
      {menu && <MessageMenu {...menu} actions={actions} onClose={closeMenu} />}
      {shown && reportedNow && (
        <ReportDialog item={shown} message={reportedNow} onReport={reports.follow} attempt={attempt} onClose={closeReport} />
      )}
    </>
  );
}

/** What has become of something, above the composer, until it is dismissed. */
function Line({ isRefused = false, onDismiss, children }: { isRefused?: boolean; onDismiss: () => void; children: ReactNode }) {
  return (
    <p className={isRefused ? 'line line--refused' : 'line'} role={isRefused ? 'alert' : undefined}>
      <span>{children}</span> <IconButton icon="close" label="Dismiss" onClick={onDismiss} />
    </p>
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
    // A dialog is closed by itself, wherever the focus is.
    const isMeant = (event: KeyboardEvent) => !event.isComposing && !event.defaultPrevented && !document.querySelector('dialog[open]');
    const onKey = (event: KeyboardEvent) => event.key === 'Escape' && isMeant(event) && onEscape();
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [onEscape]);
}

function Header({
  name = '',
  conversation,
  onClose,
  children,
}: {
  name: string | undefined;
  conversation: Conversation | undefined;
  onClose: () => void;
  /** What can be done with the chat. */
  children?: ReactNode;
}) {
  const isOffline = useConnection().state === 'offline';
  const user: ShownUser = conversation?.peer ?? { username: name };
  return (
    <header className="bar">
      <IconButton icon="back" label="Back to the list of chats" className="bar__back" onClick={onClose} />
      <Avatar user={user} />
      <div className="bar__title">
        <h2 title={user.name && name}>
          <bdi>{nameOf(user)}</bdi>
        </h2>
        <p className={`bar__presence${conversation?.typing ? ' typing' : ''}`}>
          {conversation && !isOffline && !isClosed(conversation) && presence(conversation)}
        </p>
      </div>
      {children}
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
