import { useState } from 'react';

import { Menu, type Choose } from '../Menu';
import { hasReacted, type MessageActions, type OpenMenu } from './useMessageActions';

const QUICK = ['👍', '❤️', '😂', '😮', '😢', '🙏'];

interface Props extends OpenMenu {
  actions: MessageActions;
  onClose: () => void;
}

/** What can be done with a message. */
export function MessageMenu({ message, button, actions, onClose }: Props) {
  const [isAsked, setIsAsked] = useState(false);
  const label = isAsked ? 'Take this message back?' : 'Message actions';
  return (
    <Menu button={button} label={label} isAtEnd={message.mine} onClose={onClose}>
      {(choose) =>
        isAsked ? (
          <>
            <p>Take this message back? Nobody can read it any more then.</p>
            <button type="button" autoFocus onClick={choose()}>
              Keep it
            </button>
            <button type="button" className="menu__danger" onClick={choose(() => actions.unsend(message))}>
              Take it back
            </button>
          </>
        ) : (
          <>
            {actions.canWrite && <Answers message={message} actions={actions} choose={choose} />}
            {!message.mine && !message.kind && (
              <button type="button" className="menu__danger" onClick={choose(() => actions.report(message))}>
                Report…
              </button>
            )}
            {message.mine && (
              <>
                <button type="button" onClick={choose(() => actions.edit(message))}>
                  Edit message
                </button>
                <button type="button" className="menu__danger" onClick={() => setIsAsked(true)}>
                  Unsend…
                </button>
              </>
            )}
          </>
        )
      }
    </Menu>
  );
}

/** Reactions, and a message in return. */
function Answers({ message, actions, choose }: Pick<Props, 'message' | 'actions'> & { choose: Choose }) {
  return (
    <>
      <div className="menu__emoji" role="group" aria-label="React">
        {QUICK.map((emoji) => (
          <button
            key={emoji}
            type="button"
            aria-label={`React with ${emoji}`}
            aria-pressed={hasReacted(message, emoji, actions.userId)}
            onClick={choose(() => actions.react(message, emoji))}
          >
            {emoji}
          </button>
        ))}
      </div>
      <button type="button" onClick={choose(() => actions.reply(message))}>
        Reply
      </button>
    </>
  );
}
