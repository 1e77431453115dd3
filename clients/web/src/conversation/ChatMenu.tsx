import type { ChatItem } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useState } from 'react';

import { nameOf } from '../Avatar';
import { IconButton } from '../Icon';
import { Menu, type Choose } from '../Menu';
import { isMuted } from '../muted';
import { clock, day } from '../time';
import type { Attempt } from '../useAttempt';
import { block } from './block';

const HOUR_MS = 3_600_000;
/** A time that nobody waits for. */
const ALWAYS = new Date('9999-01-01');

interface Props {
  item: ChatItem;
  /** Whether the other user can be blocked: neither oneself nor who is deleted. */
  canBlock: boolean;
  attempt: Attempt;
}

/** What can be done with the open chat, behind a button. */
export function ChatMenu({ item, canBlock, attempt }: Props) {
  const [button, setButton] = useState<HTMLElement>();
  const [isAsked, setIsAsked] = useState(false);

  function onClose() {
    setButton(undefined);
    setIsAsked(false);
  }

  return (
    <>
      <IconButton icon="more" label="Chat actions" onClick={({ currentTarget }) => setButton(currentTarget)} />
      {button && (
        <Menu button={button} label={isAsked ? `Block ${nameOf(item.peer)}?` : 'Chat actions'} isAtEnd onClose={onClose}>
          {(choose) =>
            isAsked ? (
              <AskToBlock item={item} attempt={attempt} choose={choose} />
            ) : (
              <Choices item={item} attempt={attempt} choose={choose} onBlock={canBlock ? () => setIsAsked(true) : undefined} />
            )
          }
        </Menu>
      )}
    </>
  );
}

interface ContentProps {
  item: ChatItem;
  attempt: Attempt;
  choose: Choose;
}

function AskToBlock({ item, attempt, choose }: ContentProps) {
  const chat = useChatClient();
  return (
    <>
      <p>
        Block <bdi>{nameOf(item.peer)}</bdi>? You will not hear of each other. They are not told.
      </p>
      <button type="button" autoFocus onClick={choose()}>
        Cancel
      </button>
      <button type="button" className="menu__danger" onClick={choose(() => attempt(block(chat, item)))}>
        Block
      </button>
    </>
  );
}

function Choices({ item, attempt, choose, onBlock }: ContentProps & { onBlock: (() => void) | undefined }) {
  const chat = useChatClient();
  const { pinned, box, blocked, peer } = item;
  const to = item.chatId ?? peer.username;
  const mute = (until: Date | null) => choose(() => attempt(chat.mute(to, until)));
  return (
    <>
      {isMuted(item) ? (
        <button type="button" onClick={mute(null)}>
          Unmute <small>{mutedUntil(item.mutedUntil!)}</small>
        </button>
      ) : (
        <>
          <button type="button" onClick={mute(new Date(Date.now() + HOUR_MS))}>
            Mute for 1 hour
          </button>
          <button type="button" onClick={mute(new Date(Date.now() + 8 * HOUR_MS))}>
            Mute for 8 hours
          </button>
          <button type="button" onClick={mute(ALWAYS)}>
            Mute always
          </button>
        </>
      )}
      <button type="button" onClick={choose(() => attempt(chat.pin(to, !pinned)))}>
        {pinned ? 'Unpin' : 'Pin to the top'}
      </button>
      <button type="button" onClick={choose(() => attempt(chat.archive(to, box !== 'archived')))}>
        {box === 'archived' ? 'Move to the inbox' : 'Archive'}
      </button>
      {onBlock && !blocked && (
        <button type="button" className="menu__danger" onClick={onBlock}>
          Block…
        </button>
      )}
    </>
  );
}

function mutedUntil(iso: string): string {
  if (Date.parse(iso) >= ALWAYS.getTime()) return '(muted always)';
  return `(muted until ${day(iso) === 'Today' ? '' : `${day(iso)}, `}${clock(iso)})`;
}
