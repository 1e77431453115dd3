import type { ChatItem } from '@bbgram/chat';

import { Avatar, nameOf } from '../Avatar';
import { Ticks } from '../conversation/Ticks';
import { wordsOf } from '../conversation/words';
import { Icon, type IconName } from '../Icon';
import { isMuted } from '../muted';
import { shortTime } from '../time';
import { Unread } from './Unread';
import { chatLink } from './useOpenChat';

/** A chat in the list: who, the last message and when, how many are unread. */
export function ChatRow({ item, isOpen }: { item: ChatItem; isOpen: boolean }) {
  const { peer, lastMessage, unread, typing, pinned } = item;
  const muted = isMuted(item);
  return (
    <a className="chat-row" href={chatLink(item)} aria-current={isOpen || undefined}>
      <Avatar user={peer} />
      <span className="chat-row__text">
        <span className="chat-row__line">
          <span className="chat-row__name">
            <bdi>{nameOf(peer)}</bdi>
          </span>
          {peer.online && <span className="visually-hidden">, online</span>}
          {muted && <Mark icon="mute" words="muted" />}
          {pinned && <Mark icon="pin" words="pinned" />}
          {lastMessage && (
            <time className="chat-row__time" dateTime={lastMessage.createdAt}>
              {shortTime(lastMessage.createdAt)}
            </time>
          )}
        </span>
        <span className="chat-row__line">
          {typing ? <span className="chat-row__last typing">typing…</span> : <LastMessage item={item} />}
          {unread > 0 && <Unread count={unread} isQuiet={muted} />}
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

function Mark({ icon, words }: { icon: IconName; words: string }) {
  return (
    <span className="chat-row__mark" title={words}>
      <Icon name={icon} />
      <span className="visually-hidden">, {words}</span>
    </span>
  );
}
