import type { ChatError } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useState, type FormEvent } from 'react';

import { IconButton } from '../Icon';
import { chatLink } from './useOpenChat';

/** Starts a chat with a user by their name. `suggestions` are offered as long as there is no chat. */
export function NewChat({ suggestions }: { suggestions: readonly string[] }) {
  const chat = useChatClient();
  const [name, setName] = useState('');
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);

  async function start(username: string) {
    setBusy(true);
    setError('');
    try {
      const conversation = await chat.open(username);
      setName('');
      location.hash = chatLink(conversation);
    } catch (problem) {
      setError(explain(problem as ChatError, username));
    } finally {
      setBusy(false);
    }
  }

  function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim()) void start(name.trim());
  }

  return (
    <form className="new-chat" onSubmit={submit}>
      <div className="new-chat__line">
        <input
          id="new-chat"
          aria-label="New chat: username"
          placeholder="New chat: username"
          dir="auto"
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          value={name}
          onChange={(event) => setName(event.target.value)}
          aria-describedby="new-chat-error"
        />
        <IconButton icon="plus" label="Start chat" type="submit" disabled={busy || !name.trim()} />
      </div>
      <p id="new-chat-error" className="error" role="alert">
        {error}
      </p>
      {suggestions.map((suggestion) => (
        <button
          key={suggestion}
          type="button"
          className="button button--main"
          disabled={busy}
          onClick={() => void start(suggestion)}
        >
          Write to <span className="capitalised">{suggestion}</span>
        </button>
      ))}
    </form>
  );
}

function explain(error: ChatError, username: string): string {
  return error.code === 'user_not_found' ? `Nobody here is called “${username}”.` : error.message;
}
