import { memo } from 'react';

import { isFewEmoji } from './emoji';
import { pieces } from './links';

/** The text of a message: plain text with links. What looks like HTML is shown as it was written. */
export const MessageText = memo(function MessageText({ text }: { text: string }) {
  return (
    <p className={`text${isFewEmoji(text) ? ' text--emoji' : ''}`} dir="auto">
      {pieces(text).map(({ text, href }, index) =>
        href ? (
          <a key={index} href={href} target="_blank" rel="noopener noreferrer nofollow">
            {text}
          </a>
        ) : (
          text
        ),
      )}
    </p>
  );
});
