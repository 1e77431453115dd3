import type { Chat } from '@bbgram/chat';

import { local } from '../storage';

/** Where the id of this browser, as a device of the user, is kept. */
const DEVICE = 'bbgram-device';

export const canNotify = 'serviceWorker' in navigator && 'PushManager' in window && 'Notification' in window;

/** Has this browser notified while the user is away. Called at each start: the browser may have a new subscription. */
export async function registerThisBrowser(chat: Chat, vapidKey: string): Promise<void> {
  await navigator.serviceWorker.register('./sw.js');
  const registration = await navigator.serviceWorker.ready;
  local.setItem(DEVICE, await chat.registerWebPush(registration, vapidKey));
}

/** Ends that. Without a connection the server finds out later, because the subscription is gone. */
export async function forgetThisBrowser(chat: Chat | undefined): Promise<void> {
  const device = local.getItem(DEVICE);
  if (!device || !canNotify) return;
  local.removeItem(DEVICE);
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  await subscription?.unsubscribe();
  await chat?.unregisterDevice(device).catch(() => undefined);
}
