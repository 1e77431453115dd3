import type { ChatItem } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';

import { nameOf } from '../Avatar';
import type { Attempt } from '../useAttempt';
import { block } from './block';

interface Props {
  item: ChatItem;
  attempt: Attempt;
  onClose: () => void;
}

/** Whether nothing is written in a chat for now: the user has blocked the other one, or has not accepted them. */
export function isClosed({ blocked, box }: ChatItem): boolean {
  return blocked || box === 'requests' || box === 'declined';
}

/** In the place of the composer where nothing is written: why, and what can be done about it. */
export function ClosedBar({ item, attempt, onClose }: Props) {
  const chat = useChatClient();
  const { blocked, box, peer } = item;
  const to = item.chatId ?? peer.username;
  const accept = (
    <button type="button" className="button button--main" onClick={() => attempt(chat.accept(to))}>
      Accept
    </button>
  );

  function decline() {
    attempt(chat.decline(to));
    onClose();
  }

  return (
    <section className="closed-bar" aria-label={blocked ? 'Blocked' : 'Message request'}>
      {blocked ? (
        <>
          <p>
            You blocked <bdi>{nameOf(peer)}</bdi>.
          </p>
          <button type="button" className="button" onClick={() => attempt(chat.unblock(to))}>
            Unblock
          </button>
        </>
      ) : box === 'declined' ? (
        <>
          <p>
            You declined this request. <bdi>{nameOf(peer)}</bdi> cannot write to you.
          </p>
          {accept}
        </>
      ) : (
        <>
          <p>
            <bdi>{nameOf(peer)}</bdi> wants to write to you, and does not see whether you have read this.
          </p>
          {accept}
          <button type="button" className="button" onClick={decline}>
            Decline
          </button>
          <button type="button" className="button button--danger" onClick={() => attempt(block(chat, item))}>
            Block
          </button>
        </>
      )}
    </section>
  );
}
