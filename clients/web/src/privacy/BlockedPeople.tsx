import type { BlockedUser, ChatError } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useCallback, useEffect, useState } from 'react';

import { Avatar, nameOf } from '../Avatar';

/** Whom the user has blocked, and the end of it. */
export function BlockedPeople() {
  const chat = useChatClient();
  const [users, setUsers] = useState<readonly BlockedUser[]>();
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState('');
  const fail = (error: ChatError) => setProblem(error.message);

  const load = useCallback(
    async (cursor?: string) => {
      const page = await chat.listBlocked(cursor);
      setUsers((known = []) => (cursor ? [...known, ...page.users] : page.users));
      setNext(page.nextCursor);
    },
    [chat],
  );
  useEffect(() => void load().catch(fail), [load]);

  async function unblock({ userId, username }: BlockedUser) {
    setProblem('');
    await chat.unblock(username);
    setUsers((known) => known?.filter((user) => user.userId !== userId));
  }

  return (
    <section className="blocked">
      <h3 id="blocked" tabIndex={-1}>
        Blocked people
      </h3>
      <p className="error" role="alert">
        {problem}
      </p>
      {users?.length === 0 && <p className="muted">You have blocked nobody.</p>}
      <ul aria-labelledby="blocked">
        {users?.map((user) => (
          <li key={user.userId}>
            <Avatar user={user} />
            <bdi>{nameOf(user)}</bdi>
            <button type="button" className="button" aria-label={`Unblock ${nameOf(user)}`} onClick={() => void unblock(user).then(focusTitle, fail)}>
              Unblock
            </button>
          </li>
        ))}
      </ul>
      {next && (
        <button type="button" className="button" onClick={() => void load(next).catch(fail)}>
          Show more
        </button>
      )}
    </section>
  );
}

/** The button that had the focus is gone. */
const focusTitle = () => document.getElementById('blocked')?.focus();
