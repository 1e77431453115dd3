import type { ChatMessage, Quote } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { memo } from 'react';

import { IconButton } from '../Icon';
import { clock, day, isSameDay } from '../time';
import { MessageText } from './MessageText';
import { Ticks } from './Ticks';
import { hasReacted, type MessageActions } from './useMessageActions';
import { hasText, wordsOf } from './words';

const GROUP_MS = 5 * 60_000;

interface Props {
  message: ChatMessage;
  /** The one before, if it is loaded. */
  previous: ChatMessage | undefined;
  /** Whether the chat begins here. */
  isOldest: boolean;
  /** Who wrote it, for screen readers. */
  author: string;
  /** Whether the unread messages begin here. */
  isFirstUnread: boolean;
  /** Undefined where nothing can be done. */
  actions: MessageActions | undefined;
}

/** A message, below the separators that come before it. */
export const MessageRow = memo(function MessageRow({ message, previous, isOldest, author, isFirstUnread, actions }: Props) {
  const isNewDay = previous ? !isSameDay(previous.createdAt, message.createdAt) : isOldest;
  const continues = previous && !isNewDay && !isFirstUnread && isSoonAfter(previous, message);
  const writing = actions?.canWrite ? actions : undefined;
  const isSystem = message.kind === 'system';
  const side = isSystem ? ' message--system' : message.mine ? ' message--mine' : '';
  return (
    <>
      {isNewDay && (
        <p className="separator">
          <span>{day(message.createdAt)}</span>
        </p>
      )}
      {isFirstUnread && (
        <p className="separator separator--unread">
          <span>New messages</span>
        </p>
      )}
      <div
        className={`message${side}${continues ? ' message--continues' : ''}`}
        data-state={message.state}
      >
        <div className="message__body">
          <div className="bubble">
            {!isSystem && <span className="visually-hidden">{author}: </span>}
            {message.replyTo && <Quoted quote={message.replyTo} />}
            {hasText(message) ? <MessageText text={message.text} /> : <p className="text text--gone">{wordsOf(message)}</p>}
            {message.reactions && <Reactions message={message} actions={writing} />}
            <span className="bubble__foot">
              {message.editedAt && !message.deletedAt && <span>edited</span>}
              <time dateTime={message.createdAt}>{clock(message.createdAt)}</time>
              {message.mine && <Ticks state={message.state} />}
            </span>
          </div>
          {actions && (writing || !(message.mine || isSystem)) && message.seq !== undefined && !message.deletedAt && (
            <IconButton
              icon="more"
              label="Message actions"
              className="message__more"
              onClick={({ currentTarget }) => actions.showMenu(message, currentTarget)}
            />
          )}
        </div>
        {message.state === 'failed' && <Failed message={message} actions={writing} />}
      </div>
    </>
  );
});

function isSoonAfter(previous: ChatMessage, message: ChatMessage): boolean {
  return previous.mine === message.mine && previous.kind === message.kind && Date.parse(message.createdAt) - Date.parse(previous.createdAt) < GROUP_MS;
}

/** What a message answers, as it is now. */
function Quoted({ quote }: { quote: Quote }) {
  return (
    <blockquote className="quoted" dir="auto">
      {!quote.kind && quote.senderUsername && <cite>{quote.senderUsername}</cite>}
      {quote.text || (quote.deletedAt ? 'Message deleted' : 'Message')}
    </blockquote>
  );
}

/** The reactions. A click on one adds the user's own, or takes it back. */
function Reactions({ message, actions }: Pick<Props, 'message' | 'actions'>) {
  return (
    <ul className="reactions" aria-label="Reactions">
      {message.reactions?.map(({ emoji, userIds }) => (
        <li key={emoji}>
          <button
            type="button"
            disabled={!actions}
            aria-pressed={actions && hasReacted(message, emoji, actions.userId)}
            onClick={() => actions?.react(message, emoji)}
          >
            {emoji}
            {userIds.length > 1 && ` ${userIds.length}`}
          </button>
        </li>
      ))}
    </ul>
  );
}

/** What is refused for good would be refused again: the user can only change it. */
function Failed({ message, actions }: Pick<Props, 'message' | 'actions'>) {
  const chat = useChatClient();

  function edit() {
    chat.discard(message.key);
    actions?.rewrite(message.text);
  }

  return (
    <p className="failed">
      <span>Not sent. {message.error?.message}</span>
      {actions && (
        <button type="button" onClick={edit}>
          Edit
        </button>
      )}
      <button type="button" onClick={() => chat.discard(message.key)}>
        Delete
      </button>
    </p>
  );
}
