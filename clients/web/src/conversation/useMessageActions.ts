import type { ChatError, ChatMessage } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useMemo, useState, type RefObject } from 'react';

import type { ComposerHandle } from './Composer';

/** What a user can do with the messages of a chat in which they can write. */
export interface MessageActions {
  userId: string;
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
  /** Why the last change was refused. */
  problem: string | undefined;
  dismiss: () => void;
}

/** What can be done with the messages of the chat `to`, the menu for that, and what has been refused. */
export function useMessageActions(to: string, userId: string, composer: RefObject<ComposerHandle | null>): Result {
  const chat = useChatClient();
  const [menu, setMenu] = useState<OpenMenu>();
  const [problem, setProblem] = useState<string>();

  const actions = useMemo(() => {
    async function attempt(change: Promise<void>, onRefused?: () => void) {
      setProblem(undefined);
      try {
        await change;
      } catch (error) {
        setProblem((error as ChatError).message);
        onRefused?.();
      }
    }
    const rewrite = (text: string) => composer.current?.rewrite(text);
    return {
      userId,
      rewrite,
      react: (message: ChatMessage, emoji: string) =>
        void attempt(chat.react(to, message.seq!, emoji, !hasReacted(message, emoji, userId))),
      reply: (message: ChatMessage) => composer.current?.reply(message),
      edit: (message: ChatMessage) => composer.current?.edit(message),
      change: (message: ChatMessage, text: string) => void attempt(chat.edit(to, message.seq!, text), () => rewrite(text)),
      unsend: (message: ChatMessage) => void attempt(chat.unsend(to, message.seq!)),
      clear: () => void attempt(chat.clear(to)),
      showMenu: (message: ChatMessage, button: HTMLElement) => setMenu({ message, button }),
    };
  }, [chat, to, userId, composer]);

  return { actions, menu, closeMenu: () => setMenu(undefined), problem, dismiss: () => setProblem(undefined) };
}

/** Whether a user has reacted to a message with an emoji. */
export function hasReacted({ reactions }: ChatMessage, emoji: string, userId: string): boolean {
  return reactions?.some((one) => one.emoji === emoji && one.userIds.includes(userId)) ?? false;
}
