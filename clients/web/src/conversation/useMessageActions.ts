import type { ChatMessage } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useMemo, useState, type RefObject } from 'react';

import type { Attempt } from '../useAttempt';
import type { ComposerHandle } from './Composer';

/** What a user can do with the messages of a chat. */
export interface MessageActions {
  userId: string;
  /** Whether they can write. If not, they can only report what the other one has written. */
  canWrite: boolean;
  /** Takes the text of a message that was refused, to be written anew. */
  rewrite: (text: string) => void;
  /** Adds a reaction, or takes it back. */
  react: (message: ChatMessage, emoji: string) => void;
  reply: (message: ChatMessage) => void;
  /** Has a new text written for a message. */
  edit: (message: ChatMessage) => void;
  /** Gives a message its new text. */
  change: (message: ChatMessage, text: string) => void;
  unsend: (message: ChatMessage) => void;
  /** Asks why a message is reported. */
  report: (message: ChatMessage) => void;
  /** Clears the whole chat for this user. */
  clear: () => void;
  showMenu: (message: ChatMessage, button: HTMLElement) => void;
}

/** The message whose menu is open, and the button that has opened it. */
export interface OpenMenu {
  message: ChatMessage;
  button: HTMLElement;
}

interface Result {
  actions: MessageActions;
  menu: OpenMenu | undefined;
  closeMenu: () => void;
  /** The message that is about to be reported. */
  reported: ChatMessage | undefined;
  closeReport: () => void;
}

/** What can be done with the messages of the chat `to`, and the menu for that. */
export function useMessageActions(
  to: string,
  userId: string,
  canWrite: boolean,
  composer: RefObject<ComposerHandle | null>,
  attempt: Attempt,
): Result {
  const chat = useChatClient();
  const [menu, setMenu] = useState<OpenMenu>();
  const [reported, setReported] = useState<ChatMessage>();

  const actions = useMemo(() => {
    const rewrite = (text: string) => composer.current?.rewrite(text);
    return {
      userId,
      canWrite,
      rewrite,
      react: (message: ChatMessage, emoji: string) =>
        attempt(chat.react(to, message.seq!, emoji, !hasReacted(message, emoji, userId))),
      reply: (message: ChatMessage) => composer.current?.reply(message),
      edit: (message: ChatMessage) => composer.current?.edit(message),
      change: (message: ChatMessage, text: string) => attempt(chat.edit(to, message.seq!, text), () => rewrite(text)),
      unsend: (message: ChatMessage) => attempt(chat.unsend(to, message.seq!)),
      report: setReported,
      clear: () => attempt(chat.clear(to)),
      showMenu: (message: ChatMessage, button: HTMLElement) => setMenu({ message, button }),
    };
  }, [chat, to, userId, canWrite, composer, attempt]);

  return {
    actions,
    menu,
    closeMenu: () => setMenu(undefined),
    reported,
    closeReport: () => setReported(undefined),
  };
}

/** Whether a user has reacted to a message with an emoji. */
export function hasReacted({ reactions }: ChatMessage, emoji: string, userId: string): boolean {
  return reactions?.some((one) => one.emoji === emoji && one.userIds.includes(userId)) ?? false;
}
