import type { ChatMessage, Conversation } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useMemo, useRef, useState } from 'react';
import { Virtuoso, type Components, type VirtuosoHandle } from 'react-virtuoso';

import { nameOf } from '../Avatar';
import { IconButton } from '../Icon';
import { MessageRow } from './MessageRow';
import { useFirstItemIndex } from './useFirstItemIndex';
import { useFollow } from './useFollow';
import type { MessageActions } from './useMessageActions';
import { useReading } from './useReading';

const COMPONENTS: Components<ChatMessage, Conversation> = {
  Header: ({ context }) => <Top conversation={context} />,
  Footer: ({ context }) => <Bottom conversation={context} />,
};

interface Props {
  conversation: Conversation;
  me: string;
  /** Undefined where nobody can write. */
  actions: MessageActions | undefined;
}

/** The messages, of which only the visible ones are in the page. Older ones are loaded when the user scrolls up. */
export function MessageList({ conversation, me, actions }: Props) {
  const chat = useChatClient();
  const { chatId, messages, peer } = conversation;
  const first = useFirstItemIndex(messages);
  const [dividerAfter, onSeen] = useReading(conversation);
  const [atBottom, setAtBottom] = useState(true);
  const list = useRef<VirtuosoHandle>(null);
  const firstUnread = useMemo(() => indexAfter(messages, dividerAfter), [messages, dividerAfter]);

  return (
    <div className="messages" role="region" aria-label="Messages">
      <Virtuoso
        ref={list}
        data={messages}
        context={conversation}
        components={COMPONENTS}
        firstItemIndex={first}
        initialTopMostItemIndex={firstUnread >= 0 ? { index: firstUnread, align: 'start' } : { index: 'LAST', align: 'end' }}
        computeItemKey={(_, message) => message.key}
        // A row that is not as high as was guessed is put right in the same frame, before anybody sees it.
        skipAnimationFrameInResizeObserver
        alignToBottom
        increaseViewportBy={{ top: 600, bottom: 0 }}
        atBottomThreshold={60}
        atBottomStateChange={setAtBottom}
        followOutput={useFollow(messages)}
        startReached={() => void (conversation.hasOlder && chatId && chat.loadOlder(chatId).catch(() => undefined))}
        rangeChanged={({ endIndex }) => onSeen(endIndex - first)}
        itemContent={(index, message) => (
          <MessageRow
            message={message}
            previous={messages[index - first - 1]}
            isOldest={index === first && !conversation.hasOlder}
            author={message.mine ? me : nameOf(peer)}
            isFirstUnread={index - first === firstUnread}
            actions={actions}
          />
        )}
      />
      {!atBottom && (
        <IconButton
          icon="down"
          label="Go to the newest message"
          className="to-bottom"
          onClick={() => list.current?.scrollToIndex({ index: 'LAST', align: 'end' })}
        />
      )}
    </div>
  );
}

/** The index of the peer's first message after a seq, or -1. */
function indexAfter(messages: readonly ChatMessage[], after: number): number {
  if (after >= (messages.findLast(({ seq }) => seq !== undefined)?.seq ?? 0)) return -1;
  return messages.findIndex(({ mine, seq }) => !mine && seq !== undefined && seq > after);
}

/** As high with words as without, so that the messages stay in their place. */
function Top({ conversation: { hasOlder, archivedBefore } }: { conversation: Conversation }) {
  return (
    <p className="messages__top note">
      {hasOlder ? 'Loading older messages…' : archivedBefore ? 'Older messages are in the archive.' : ''}
    </p>
  );
}

function Bottom({ conversation: { hole, typing, peer } }: { conversation: Conversation }) {
  return (
    <div className="messages__foot">
      {hole && <p className="note">Loading missing messages…</p>}
      {typing && (
        <p className="typing-dots">
          <bdi className="visually-hidden">{nameOf(peer)} is typing</bdi>
          <i />
          <i />
          <i />
        </p>
      )}
    </div>
  );
}
