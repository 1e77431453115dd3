import type { Box, ChatList } from '@bbgram/chat';
import { useChatClient, useChats, useConnection } from '@bbgram/chat/react';
import { useEffect, useRef, useState } from 'react';

import { Icon, IconButton, type IconName } from '../Icon';

/** The boxes beside the inbox that have a row above it. */
export type OtherBox = Extract<Box, 'requests' | 'archived'>;

const TITLES: Record<OtherBox, string> = { requests: 'Message requests', archived: 'Archived' };
const NOTHING: Record<OtherBox, string> = { requests: 'There are no message requests.', archived: 'Nothing is archived.' };

/** As many as are in the first page, unless there are fewer. */
const FIRST_PAGE = 50;

/** Rows above the inbox that open the other boxes, as far as there is something in them. */
export function BoxRows({ onOpen }: { onOpen: (box: OtherBox) => void }) {
  const requests = useChats('requests');
  const archived = useArchive();
  const row = (box: OtherBox, icon: IconName, { items, hasMore }: ChatList) =>
    items.length > 0 && (
      <button type="button" id={`box-${box}`} className="boxes__row" onClick={() => onOpen(box)}>
        <Icon name={icon} /> {TITLES[box]} ({items.length}
        {hasMore && '+'})
      </button>
    );
  return (
    <div className="boxes">
      {row('requests', 'person', requests)}
      {row('archived', 'archive', archived)}
    </div>
  );
}

/** The title of another box, which gets the focus: what has opened it is gone. */
export function BoxTitle({ box, onLeave }: { box: OtherBox; onLeave: () => void }) {
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => title.current?.focus(), [box]);
  return (
    <div className="boxes__title">
      <IconButton icon="back" label="Back to all chats" onClick={onLeave} />
      <h2 ref={title} tabIndex={-1}>
        {TITLES[box]}
      </h2>
    </div>
  );
}

/** What is said where a box is empty. */
export function NothingIn({ box }: { box: OtherBox }) {
  return <p className="note">{NOTHING[box]}</p>;
}

/** The archive, whose first page is loaded once there is a connection. */
function useArchive(): ChatList {
  const chat = useChatClient();
  const archived = useChats('archived');
  const [hasFailed, setHasFailed] = useState(false);
  const isLive = useConnection().state === 'live';
  const isDue = isLive && archived.hasMore && !archived.loading && archived.items.length < FIRST_PAGE && !hasFailed;
  useEffect(() => {
    if (isDue) chat.loadMoreChats('archived').catch(() => setHasFailed(true));
  }, [chat, isDue]);
  return archived;
}
