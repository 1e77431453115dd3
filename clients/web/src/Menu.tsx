import { useLayoutEffect, useRef, type KeyboardEvent, type MouseEvent, type ReactNode } from 'react';

const MARGIN = 8;

interface Props {
  /** What has opened it. */
  button: HTMLElement;
  label: string;
  /** Whether it ends where the button ends, and does not begin where it begins. */
  isAtEnd: boolean;
  onClose: () => void;
  /** What is in it. `choose` makes of an action one that closes the menu first. */
  children: (choose: (action?: () => void) => () => void) => ReactNode;
}

/** A menu beside its button. The browser keeps the focus in it, and gives it back to the button. */
export function Menu({ button, label, isAtEnd, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);

  useLayoutEffect(() => {
    const menu = dialog.current!;
    if (!menu.open) menu.showModal();
    place(menu, button, isAtEnd);
  }, [button, isAtEnd]);

  const close = () => dialog.current?.close();
  const choose = (action?: () => void) => () => {
    // First, so that the action can put the focus elsewhere.
    close();
    action?.();
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
      aria-label={label}
      onClose={onClose}
      onKeyDown={onKeyDown}
      onClick={(event: MouseEvent) => event.target === dialog.current && close()}
    >
      <div className="menu__content">{children(choose)}</div>
    </dialog>
  );
}

/** Puts the menu below its button, or above where there is more room, and always into the window. */
function place(menu: HTMLElement, button: HTMLElement, isAtEnd: boolean): void {
  const { left, right, top, bottom } = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const wanted = bottom + height + MARGIN > innerHeight ? top - height : bottom;
  menu.style.top = `${Math.max(MARGIN, wanted)}px`;
  menu.style.left = `${Math.max(MARGIN, Math.min(isAtEnd ? right - width : left, innerWidth - width - MARGIN))}px`;
}
