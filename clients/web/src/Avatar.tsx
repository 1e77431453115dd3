import type { Peer } from '@bbgram/chat';
import { useState } from 'react';

/** A user, as far as they are shown. */
export type ShownUser = Pick<Peer, 'username'> & Partial<Pick<Peer, 'name' | 'avatarUrl' | 'online'>>;

/** What a user is called: by the app, or else by their username. */
export const nameOf = ({ name, username }: ShownUser): string => name ?? username;

/** A round picture: the user's own, or the first letter of their name, in a colour that belongs to the username. */
export function Avatar({ user }: { user: ShownUser }) {
  const { username, avatarUrl, online } = user;
  const [tried, setTried] = useState<{ url: string; isShown: boolean }>();
  const isShown = tried && tried.url === avatarUrl ? tried.isShown : undefined;
  const [first = '?'] = new Intl.Segmenter().segment(nameOf(user))[Symbol.iterator]().next().value?.segment ?? '?';
  return (
    <span className={`avatar avatar--${hue(username)}`} aria-hidden="true">
      {!isShown && first.toUpperCase()}
      {avatarUrl && isShown !== false && (
        <img
          src={avatarUrl}
          alt=""
          loading="lazy"
          referrerPolicy="no-referrer"
          onLoad={() => setTried({ url: avatarUrl, isShown: true })}
          onError={() => setTried({ url: avatarUrl, isShown: false })}
        />
      )}
      {online && <span className="avatar__online" />}
    </span>
  );
}

const COLOURS = 8;

function hue(name: string): number {
  let hash = 0;
  for (const letter of name.toLowerCase()) hash = Math.imul(hash ^ letter.codePointAt(0)!, 0x9e3779b1) >>> 0;
  return (hash >>> 16) % COLOURS;
}
