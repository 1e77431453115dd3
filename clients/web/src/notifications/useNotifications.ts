import type { Chat } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useEffect, useState } from 'react';

import { canNotify, onOtherForgotten, registerThisBrowser } from './browser';

interface Notifications {
  /** Whether the user is not notified while they are away, but could be. */
  canAsk: boolean;
  /** Asks the browser, which asks the user. */
  ask: () => Promise<void>;
  /** Why it did not work, after the user has asked. */
  problem: string;
}

/** Notifications while the user is away: on, if they have allowed them. Without a key there are none. */
export function useNotifications(userId: string, vapidKey: string | undefined): Notifications {
  const chat = useChatClient();
  const [permission, setPermission] = usePermission();
  const [failure, setFailure] = useState<Error>();
  const [hasAsked, setHasAsked] = useState(false);

  useEffect(() => {
    if (permission !== 'granted' || !vapidKey) return;
    const registerAgain = () => void register(chat, userId, vapidKey).then(setFailure);
    registerAgain();
    return onOtherForgotten(userId, registerAgain);
  }, [chat, permission, userId, vapidKey]);

  async function ask() {
    setHasAsked(true);
    const answer = await Notification.requestPermission();
    setPermission(answer === 'default' ? 'prompt' : answer);
    if (answer === 'granted' && permission === 'granted') setFailure(await register(chat, userId, vapidKey!));
  }

  const canAsk = vapidKey !== undefined && (permission === 'prompt' || failure !== undefined);
  return { canAsk, ask, problem: hasAsked && failure ? `This browser cannot be notified: ${failure.message}` : '' };
}

/** What the user has allowed. They may change it in the browser at any time. */
function usePermission(): [PermissionState, (state: PermissionState) => void] {
  const [state, setState] = useState<PermissionState>('denied');
  useEffect(() => {
    let status: PermissionStatus | undefined;
    if (!canNotify) return;
    void navigator.permissions.query({ name: 'notifications' }).then((answer) => {
      status = answer;
      status.onchange = () => setState(answer.state);
      setState(answer.state);
    });
    return () => {
      if (status) status.onchange = null;
    };
  }, []);
  return [state, setState];
}

async function register(chat: Chat, userId: string, vapidKey: string): Promise<Error | undefined> {
  try {
    await registerThisBrowser(chat, userId, vapidKey);
  } catch (error) {
    return error as Error;
  }
}
