import { useUnread } from '@bbgram/chat/react';
import { useEffect } from 'react';

/** What the page is called while nothing is unread. */
const NAME = document.title;

interface Props {
  count: number;
  /** What screen readers say after the number. */
  words?: string;
  /** Whether it is of no interest now. */
  isQuiet?: boolean;
}

/** How many messages are unread. */
export function Unread({ count, words = 'unread', isQuiet = false }: Props) {
  return (
    <span className={`unread${isQuiet ? ' unread--quiet' : ''}`}>
      {upTo99(count)}
      <span className="visually-hidden"> {words}</span>
    </span>
  );
}

/** How many are unread in all; also in the title of the page, for those who look at another one. */
export function UnreadTotal() {
  const total = useUnread()?.total ?? 0;
  const title = total > 0 ? `(${upTo99(total)}) ${NAME}` : NAME;
  useEffect(() => {
    document.title = title;
    return () => void (document.title = NAME);
  }, [title]);
  return total > 0 && <Unread count={total} words="unread messages" />;
}

const upTo99 = (count: number): string => (count > 99 ? '99+' : String(count));
