import type { Chat } from '@bbgram/chat';

import { local } from '../storage';

/** Where the id of this browser, as a device of a user, is kept: several users may be signed in, each in a tab. */
const DEVICE = 'bbgram-device:';

export const canNotify = 'serviceWorker' in navigator && 'PushManager' in window && 'Notification' in window;

/** Has this browser notified while the user is away. Called at each start: the browser may have a new subscription. */
export async function registerThisBrowser(chat: Chat, userId: string, vapidKey: string): Promise<void> {
  await navigator.serviceWorker.register('./sw.js');
  const registration = await navigator.serviceWorker.ready;
  local.setItem(DEVICE + userId, await chat.registerWebPush(registration, vapidKey));
}

/**
 * Ends that. The subscription of the browser ends too, unless another user has it; also if the server cannot be told:
 * then it finds out later, because the subscription is gone.
 */
export async function forgetThisBrowser(chat: Chat | undefined, userId: string): Promise<void> {
  const key = DEVICE + userId;
  const device = local.getItem(key);
  if (!device || !canNotify) return;
  const isTold = await chat?.unregisterDevice(device).then(
    () => true,
    () => false,
  );
  if (!isTold || !local.keys(DEVICE).some((other) => other !== key)) await unsubscribe();
  local.removeItem(key);
}

/** Calls `listener` when another user signs out in another tab. With them, this user may have lost the subscription. */
export function onOtherForgotten(userId: string, listener: () => void): () => void {
  function onStorage({ key, newValue }: StorageEvent) {
    if (key?.startsWith(DEVICE) && key !== DEVICE + userId && newValue === null) listener();
  }
  addEventListener('storage', onStorage);
  return () => removeEventListener('storage', onStorage);
}

async function unsubscribe(): Promise<void> {
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  await subscription?.unsubscribe();
}
