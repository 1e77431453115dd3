// Shows Web Push notifications, and opens the chat that one is about.

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('push', (event) => {
  const notice = event.data?.json() ?? {};
  const silent = notice.isReplacement ?? false;
  const options = { body: notice.body, tag: notice.id, icon: './icon.svg', data: notice, silent };
  event.waitUntil(self.registration.showNotification(notice.title ?? 'New message', options));
});

self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(show(linkOf(event.notification.data)));
});

/** The newest of the chats that a notice is about, as the page addresses it: see src/chats/useOpenChat.ts. */
function linkOf(notice) {
  const chatId = notice?.chatIds?.[0];
  return chatId ? `#/${chatId}` : '';
}

async function show(hash) {
  const url = new URL(hash, self.registration.scope).href;
  const [open] = await self.clients.matchAll({ type: 'window' });
  if (!open) return self.clients.openWindow(url);
  await open.navigate(url);
  return open.focus();
}
