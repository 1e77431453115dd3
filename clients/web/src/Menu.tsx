import { useLayoutEffect, useRef, type MouseEvent, type ReactNode } from 'react';

import { closeAtEscape } from './Dialog';

const MARGIN = 8;

/** Returns what closes the menu, and then does something. */
export type Choose = (action?: () => void) => () => void;

interface Props {
  /** The button that has opened it. */
  button: HTMLElement;
  label: string;
  /** Whether it ends where the button ends. */
  isAtEnd: boolean;
  onClose: () => void;
  children: (choose: Choose) => ReactNode;
}

/** A menu at a button. The browser keeps the focus in it, and gives it back to the button. */
export function Menu({ button, label, isAtEnd, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);

  useLayoutEffect(() => {
    const menu = dialog.current!;
    if (!menu.open) menu.showModal();
    const onResize = () => place(menu, button, isAtEnd);
    onResize();
    addEventListener('resize', onResize);
    return () => removeEventListener('resize', onResize);
  }, [button, isAtEnd]);

  /** At once: the event comes later, and might close a menu that was opened again meanwhile. */
  function close() {
    dialog.current?.close();
    onClose();
  }

  const choose: Choose = (action) => () => {
    // First, so that the action can put the focus elsewhere.
    close();
    action?.();
  };

  return (
    <dialog
      ref={dialog}
      className="menu"
      aria-label={label}
      onClose={onClose}
      onKeyDown={(event) => closeAtEscape(event, close)}
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
