import { useChatClient } from '@bbgram/chat/react';
import { useEffect, useImperativeHandle, useRef, type FormEvent, type KeyboardEvent, type Ref } from 'react';

import { IconButton } from '../Icon';
import { useDraft } from './useDraft';

export interface ComposerHandle {
  /** Puts a text before what is written. */
  edit: (text: string) => void;
}

interface Props {
  /** The id of the chat, or the name of the other user before there is one. */
  to: string;
  /** What the other user is called now. */
  name: string;
  userId: string;
  ref: Ref<ComposerHandle>;
}

/** Where a message is written. Enter sends it, Shift+Enter begins a new line. */
export function Composer({ to, name, userId, ref }: Props) {
  const chat = useChatClient();
  const [draft, setDraft] = useDraft(userId, to, name);
  const input = useRef<HTMLTextAreaElement>(null);
  useImperativeHandle(
    ref,
    () => ({
      edit(text) {
        setDraft((known) => (known ? `${text}\n${known}` : text));
        input.current?.focus();
      },
    }),
    [setDraft],
  );

  useEffect(() => {
    // On a phone, it would open the keyboard over the messages.
    if (matchMedia('(hover: hover)').matches) input.current?.focus();
  }, []);

  function send() {
    if (!draft.trim()) return;
    chat.send(name, draft.trim());
    setDraft('');
    input.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent) {
    // An input method uses Enter to choose among suggestions. Safari says so by the code 229 only.
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    send();
  }

  return (
    <form
      className="composer"
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={input}
        rows={1}
        dir="auto"
        placeholder="Message"
        aria-label={`Message to ${name}`}
        value={draft}
        onChange={(event) => {
          setDraft(event.target.value);
          if (event.target.value) chat.typing(to);
        }}
        onKeyDown={onKeyDown}
      />
      <IconButton icon="send" label="Send" type="submit" disabled={!draft.trim()} className="composer__send" />
    </form>
  );
}
