import { useEffect, useId, useRef, type KeyboardEvent, type ReactNode } from 'react';

import { IconButton } from './Icon';

interface Props {
  title: string;
  onClose: () => void;
  children: ReactNode;
}

/** A dialog in the middle of the page. The browser keeps the focus in it, and gives it back to what had it before. */
export function Dialog({ title, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    if (!dialog.current!.open) dialog.current!.showModal();
  }, []);

  function close() {
    dialog.current?.close();
    onClose();
  }

  return (
    <dialog
      ref={dialog}
      className="dialog"
      aria-labelledby={titleId}
      onClose={onClose}
      onKeyDown={(event) => closeAtEscape(event, close)}
      onClick={(event) => event.target === dialog.current && close()}
    >
      <div className="dialog__content">
        <header className="dialog__head">
          <h2 id={titleId}>{title}</h2>
          <IconButton icon="close" label="Close" onClick={close} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** Closes a dialog, and nothing else: Escape would close the chat, too. */
export function closeAtEscape(event: KeyboardEvent, close: () => void): void {
  if (event.key !== 'Escape') return;
  event.preventDefault();
  close();
}
