import type { ChatItem } from '@bbgram/chat';

import { Avatar } from '../Avatar';
import { Ticks } from '../conversation/Ticks';
import { wordsOf } from '../conversation/words';
import { shortTime } from '../time';
import { chatLink } from './useOpenChat';

/** A chat in the list: who, the last message and when, how many are unread. */
export function ChatRow({ item, isOpen }: { item: ChatItem; isOpen: boolean }) {
  const { peer, lastMessage, unread, typing } = item;
  return (
    <a className="chat-row" href={chatLink(item)} aria-current={isOpen || undefined}>
      <Avatar name={peer.username} online={peer.online} />
      <span className="chat-row__text">
        <span className="chat-row__line">
          <span className="chat-row__name">
            <bdi>{peer.username}</bdi>
          </span>
          {peer.online && <span className="visually-hidden">, online</span>}
          {lastMessage && (
            <time className="chat-row__time" dateTime={lastMessage.createdAt}>
              {shortTime(lastMessage.createdAt)}
            </time>
          )}
        </span>
        <span className="chat-row__line">
          {typing ? <span className="chat-row__last typing">typing…</span> : <LastMessage item={item} />}
          {unread > 0 && <Unread count={unread} />}
        </span>
      </span>
    </a>
  );
}

function LastMessage({ item: { lastMessage: message, lastSeq } }: { item: ChatItem }) {
  if (!message) return <span className="chat-row__last">{lastSeq ? 'No messages' : 'No messages yet'}</span>;
  return (
    <>
      {message.mine && <Ticks state={message.state} />}
      <span className="chat-row__last">
        <bdi>{wordsOf(message)}</bdi>
      </span>
    </>
  );
}

function Unread({ count }: { count: number }) {
  return (
    <span className="unread">
      {count > 99 ? '99+' : count}
      <span className="visually-hidden"> unread</span>
    </span>
  );
}
