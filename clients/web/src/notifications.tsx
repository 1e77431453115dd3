import { useChatClient } from '@bbgram/chat/react';
import { useEffect, useState } from 'react';

import { IconButton } from './Icon';

const SUPPORTED = 'serviceWorker' in navigator && 'PushManager' in window && 'Notification' in window;

/** Asks the user whether they want notifications while they are away, and registers this browser. */
export function NotifyButton({ vapidKey }: { vapidKey: string }) {
  const chat = useChatClient();
  const [permission, setPermission] = useState(SUPPORTED ? Notification.permission : 'denied');

  useEffect(() => {
    if (permission !== 'granted') return;
    // At each start: the browser may have renewed its subscription.
    navigator.serviceWorker
      .register('./sw.js')
      .then(() => navigator.serviceWorker.ready)
      .then((registration) => chat.registerWebPush(registration, vapidKey))
      .catch((error: unknown) => console.warn('no notifications:', error));
  }, [chat, permission, vapidKey]);

  if (permission !== 'default') return null;
  const ask = async () => setPermission(await Notification.requestPermission());
  return <IconButton icon="bell" label="Notify me while I am away" onClick={() => void ask()} />;
}
