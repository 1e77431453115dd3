import type { Chat } from '@bbgram/chat';

import { local } from '../storage';

/** Where the id of this browser, as a device of a user, is kept: several users may be signed in, each in a tab. */
const DEVICE = 'bbgram-device:';

export const canNotify = 'serviceWorker' in navigator && 'PushManager' in window && 'Notification' in window;

/** A connection that is lost while a user signs out must not keep them from it. */
const PATIENCE_MS = 5_000;

/** The registrations under way: none of them may end after the user has signed out. */
let registrations: Promise<unknown> = Promise.resolve();

/** Has this browser notified while the user is away. Called at each start: the browser may have a new subscription. */
export function registerThisBrowser(chat: Chat, userId: string, vapidKey: string): Promise<void> {
  const registered = register(chat, userId, vapidKey);
  registrations = Promise.allSettled([registrations, registered]);
  return registered;
}

async function register(chat: Chat, userId: string, vapidKey: string): Promise<void> {
  await navigator.serviceWorker.register('./sw.js');
  const registration = await navigator.serviceWorker.ready;
  local.setItem(DEVICE + userId, await chat.registerWebPush(registration, vapidKey));
}

/**
 * Ends that. The subscription of the browser ends too, unless another user has it; also if the server cannot be told:
 * then it finds out later, because the subscription is gone.
 */
export async function forgetThisBrowser(chat: Chat | undefined, userId: string): Promise<void> {
  if (!canNotify) return;
  const patienceMs = chat ? PATIENCE_MS : 0;
  const isSettled = await inTime(registrations, patienceMs);
  const key = DEVICE + userId;
  const device = local.getItem(key);
  if (isSettled && !device) return;
  const isTold = chat && device && (await inTime(chat.unregisterDevice(device), patienceMs));
  if (!isTold || !local.keys(DEVICE).some((other) => other !== key)) await unsubscribe();
  // To remove what is not there would tell the other tabs nothing.
  if (!device) local.setItem(key, '');
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

/** Whether this succeeds in time. */
function inTime(action: Promise<unknown>, ms: number): Promise<boolean> {
  const succeeded = action.then(
    () => true,
    () => false,
  );
  return Promise.race([succeeded, new Promise<false>((resolve) => setTimeout(resolve, ms, false))]);
}

async function unsubscribe(): Promise<void> {
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  await subscription?.unsubscribe();
}
