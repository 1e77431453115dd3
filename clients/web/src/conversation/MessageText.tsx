import { memo } from 'react';

import { pieces } from './links';

const FEW_EMOJI = /^\p{RGI_Emoji}{1,3}$/v;

/** The text of a message: plain text with links. What looks like HTML is shown as it was written. */
export const MessageText = memo(function MessageText({ text }: { text: string }) {
  return (
    <p className={`text${FEW_EMOJI.test(text) ? ' text--emoji' : ''}`} dir="auto">
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
