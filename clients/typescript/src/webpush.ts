import type { PushKeys, RegisterDevice } from './contract.js';
import { ChatError } from './errors.js';

/** Subscribe a browser to Web Push. A subscription with another key is replaced: the server could not use it. */
export async function subscribe(registration: ServiceWorkerRegistration, vapidPublicKey: string): Promise<RegisterDevice> {
  const manager = registration.pushManager as PushManager | undefined;
  if (!manager) throw new ChatError('push_denied');
  const key = bytesOf(vapidPublicKey);
  try {
    let subscription = await manager.getSubscription();
    if (subscription && !isSame(subscription.options.applicationServerKey, key)) {
      await subscription.unsubscribe();
      subscription = null;
    }
    subscription ??= await manager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    const { endpoint, keys } = subscription.toJSON();
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    const { language } = navigator;
    return { channel: 'webpush', address: endpoint!, keys: keys as unknown as PushKeys, timeZone, language };
  } catch (cause) {
    if ((cause as Error).name === 'NotAllowedError') throw new ChatError('push_denied', undefined, undefined, { cause });
    throw cause;
  }
}

function bytesOf(base64url: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64url.replace(/-/g, '+').replace(/_/g, '/')), (letter) => letter.charCodeAt(0));
}

function isSame(known: ArrayBuffer | null, key: Uint8Array): boolean {
  return known !== null && String(new Uint8Array(known)) === String(key);
}
