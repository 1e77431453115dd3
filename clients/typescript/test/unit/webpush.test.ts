import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { subscribe } from '../../src/webpush.js';

const KEY = Buffer.from(Uint8Array.from({ length: 65 }, (_, place) => place * 3)).toString('base64url');
const OTHER = Buffer.from(Uint8Array.from({ length: 65 }, (_, place) => place)).toString('base64url');

beforeEach(() => void vi.stubGlobal('navigator', { language: 'pt-BR' }));
afterEach(() => void vi.unstubAllGlobals());

function browser(existing?: string) {
  const made: string[] = [];
  const subscription = (key: string) => ({
    options: { applicationServerKey: Uint8Array.from(Buffer.from(key, 'base64url')).buffer },
    unsubscribe: vi.fn(async () => true),
    toJSON: () => ({ endpoint: `https://push.example/${key}`, keys: { p256dh: 'p', auth: 'a' } }),
  });
  const before = existing ? subscription(existing) : null;
  const pushManager = {
    getSubscription: async () => before,
    subscribe: async (asked: { userVisibleOnly: boolean; applicationServerKey: Uint8Array }) => {
      expect(asked.userVisibleOnly).toBe(true);
      made.push(Buffer.from(asked.applicationServerKey).toString('base64url'));
      return subscription(made.at(-1)!);
    },
  };
  return { registration: { pushManager } as unknown as ServiceWorkerRegistration, made, before };
}

test('a browser is subscribed with the key of the server', async () => {
  const { registration, made } = browser();
  const device = await subscribe(registration, KEY);
  expect(made).toEqual([KEY]);
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const address = `https://push.example/${KEY}`;
  expect(device).toEqual({ channel: 'webpush', address, keys: { p256dh: 'p', auth: 'a' }, timeZone, language: 'pt-BR' });
});

test('a subscription is kept while its key is the same, and replaced when it is not', async () => {
  const same = browser(KEY);
  await subscribe(same.registration, KEY);
  expect(same.made).toEqual([]);
  const changed = browser(OTHER);
  await subscribe(changed.registration, KEY);
  expect(changed.before!.unsubscribe).toHaveBeenCalledOnce();
  expect(changed.made).toEqual([KEY]);
});

test('a browser that does not allow it, or knows no push, is an error with a code', async () => {
  const { registration } = browser();
  registration.pushManager.subscribe = async () => {
    throw new DOMException('denied', 'NotAllowedError');
  };
  await expect(subscribe(registration, KEY)).rejects.toMatchObject({ code: 'push_denied', retryable: false });
  await expect(subscribe({} as ServiceWorkerRegistration, KEY)).rejects.toMatchObject({ code: 'push_denied' });
});
