import type { ChatMessage } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useEffect, useId, useImperativeHandle, useRef, useState, type FormEvent, type KeyboardEvent, type Ref } from 'react';

import { IconButton } from '../Icon';
import { useDraft } from './useDraft';
import { wordsOf } from './words';

export interface ComposerHandle {
  /** Puts a text before what is written. */
  rewrite: (text: string) => void;
  /** Has the next message answer one. */
  reply: (message: ChatMessage) => void;
  /** Lets the user edit a message. Their draft is kept until they are done. */
  edit: (message: ChatMessage) => void;
}

/** The message that is answered or edited. */
interface About {
  message: ChatMessage;
  isEdit: boolean;
}

interface Props {
  /** The id of the chat, or the name of the other user before there is one. */
  to: string;
  /** The username of the other user, as it is now. */
  name: string;
  /** What the other user is called. */
  shownName: string;
  userId: string;
  /** Gives a message its new text. */
  onChange: (message: ChatMessage, text: string) => void;
  ref: Ref<ComposerHandle>;
}

/** Where a message is written. Enter sends it, Shift+Enter begins a new line. */
export function Composer({ to, name, shownName, userId, onChange, ref }: Props) {
  const chat = useChatClient();
  const [draft, setDraft] = useDraft(userId, to, name);
  const [about, setAbout] = useState<About>();
  const [edited, setEdited] = useState('');
  const [text, setText] = about?.isEdit ? [edited, setEdited] : [draft, setDraft];
  const aboutId = useId();
  const input = useRef<HTMLTextAreaElement>(null);
  useImperativeHandle(
    ref,
    () => ({
      rewrite(text) {
        setAbout(undefined);
        setDraft((known) => (known ? `${text}\n${known}` : text));
        input.current?.focus();
      },
      reply(message) {
        setAbout({ message, isEdit: false });
        input.current?.focus();
      },
      edit(message) {
        setAbout({ message, isEdit: true });
        setEdited(message.text);
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
    const words = text.trim();
    if (!words) return;
    if (!about?.isEdit) chat.send(name, words, { replyTo: about?.message.seq });
    else if (words !== about.message.text) onChange(about.message, words);
    setText('');
    stop();
  }

  /** Goes on with a message of its own. */
  function stop() {
    setAbout(undefined);
    input.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key === 'Escape' && about && !event.nativeEvent.isComposing) {
      // It would close the chat.
      event.preventDefault();
      return stop();
    }
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
      {about && (
        <div className="composer__about">
          <p id={aboutId}>
            <b>{heading(about, shownName)}:</b> <bdi>{wordsOf(about.message)}</bdi>
          </p>
          <IconButton icon="close" label={about.isEdit ? 'Stop editing' : 'Stop replying'} onClick={stop} />
        </div>
      )}
      <textarea
        ref={input}
        rows={1}
        dir="auto"
        placeholder="Message"
        aria-label={`Message to ${shownName}`}
        aria-describedby={about && aboutId}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          if (event.target.value && !about?.isEdit) chat.typing(to);
        }}
        onKeyDown={onKeyDown}
      />
      <IconButton icon={about?.isEdit ? 'sent' : 'send'} label={about?.isEdit ? 'Save' : 'Send'} type="submit" disabled={!text.trim()} className="composer__send" />
    </form>
  );
}

function heading({ isEdit, message: { kind, mine } }: About, name: string): string {
  if (isEdit) return 'Edit';
  if (kind) return 'Reply';
  return mine ? 'Reply to yourself' : `Reply to ${name}`;
}
