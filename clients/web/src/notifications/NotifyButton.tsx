import { useChatClient } from '@bbgram/chat/react';
import { useEffect, useState } from 'react';

import { IconButton } from '../Icon';
import { canNotify, registerThisBrowser } from './browser';

/** Asks the user whether to be notified while they are away. There is nothing to ask if the browser has an answer. */
export function NotifyButton({ vapidKey }: { vapidKey: string }) {
  const chat = useChatClient();
  const [permission, setPermission] = useState(canNotify ? Notification.permission : 'denied');

  useEffect(() => {
    if (permission !== 'granted') return;
    registerThisBrowser(chat, vapidKey).catch((error: unknown) => console.warn('no notifications:', error));
  }, [chat, permission, vapidKey]);

  if (permission !== 'default') return null;
  const ask = async () => setPermission(await Notification.requestPermission());
  return <IconButton icon="bell" label="Notify me while I am away" onClick={() => void ask()} />;
}
