import { useLayoutEffect, useRef, useState, type KeyboardEvent, type MouseEvent } from 'react';

import { hasReacted, type MessageActions, type OpenMenu } from './useMessageActions';

const QUICK = ['👍', '❤️', '😂', '😮', '😢', '🙏'];
const MARGIN = 8;

interface Props extends OpenMenu {
  actions: MessageActions;
  onClose: () => void;
}

/** What can be done with a message. The browser keeps the focus in it, and gives it back to the button. */
export function MessageMenu({ message, button, actions, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isAsked, setIsAsked] = useState(false);

  useLayoutEffect(() => {
    const menu = dialog.current!;
    if (!menu.open) menu.showModal();
    place(menu, button, message.mine);
  }, [button, message.mine]);

  const close = () => dialog.current?.close();
  const choose = (action: () => void) => () => {
    // First, so that the action can put the focus elsewhere.
    close();
    action();
  };

  function onKeyDown(event: KeyboardEvent) {
    if (event.key !== 'Escape') return;
    // It would close the chat, too.
    event.preventDefault();
    close();
  }

  return (
    <dialog
      ref={dialog}
      className="menu"
      aria-label={isAsked ? 'Take this message back?' : 'Message actions'}
      onClose={onClose}
      onKeyDown={onKeyDown}
      onClick={(event: MouseEvent) => event.target === dialog.current && close()}
    >
      <div className="menu__content">
        {isAsked ? (
          <>
            <p>Take this message back? Nobody can read it any more then.</p>
            <button type="button" autoFocus onClick={close}>
              Keep it
            </button>
            <button type="button" className="menu__danger" onClick={choose(() => actions.unsend(message))}>
              Take it back
            </button>
          </>
        ) : (
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
        )}
      </div>
    </dialog>
  );
}

/** Puts the menu below its button, or above where there is more room, and always into the window. */
function place(menu: HTMLElement, button: HTMLElement, isMine: boolean): void {
  const { left, right, top, bottom } = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const wanted = bottom + height + MARGIN > innerHeight ? top - height : bottom;
  menu.style.top = `${Math.max(MARGIN, wanted)}px`;
  menu.style.left = `${Math.max(MARGIN, Math.min(isMine ? right - width : left, innerWidth - width - MARGIN))}px`;
}
