// Shows Web Push notifications, and opens the chat that one is about.

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('push', (event) => {
  const notice = event.data?.json() ?? {};
  const options = { body: notice.body, tag: notice.id, icon: './icon.svg', data: notice };
  event.waitUntil(self.registration.showNotification(notice.title ?? 'New message', options));
});

self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  const sender = event.notification.data?.senders?.[0];
  event.waitUntil(show(sender ? `#${encodeURIComponent(sender)}` : ''));
});

async function show(hash) {
  const url = new URL(hash, self.registration.scope).href;
  const [open] = await self.clients.matchAll({ type: 'window' });
  if (!open) return self.clients.openWindow(url);
  await open.navigate(url);
  return open.focus();
}
