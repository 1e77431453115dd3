import { expect, test } from 'vitest';
import { until } from '../until.js';
import { edges, live, person } from './people.js';

test('every device knows how much is unread, while messages come and after they are read', async () => {
  const [alice, bob, carol] = [person('alice'), person('bob'), person('carol')];
  const [alices, other] = [await live(alice), await live(alice, { url: edges[1]! })];
  for (const chat of [alices, other]) await until(chat, () => chat.getUnread()?.total === 0);
  const [bobs, carols] = [await live(bob), await live(carol)];
  for (const text of ['1', '2']) bobs.send(alice.name, text);
  carols.send(alice.name, '3');
  for (const chat of [alices, other]) await until(chat, () => chat.getUnread()!.total === 3 && chat.getUnread()!.chats === 2);

  other.setOnline(false);
  await alices.markRead(bob.name);
  await until(alices, () => alices.getUnread()!.total === 1);
  bobs.send(alice.name, '4');
  await until(alices, () => alices.getUnread()!.total === 2);
  await alices.mute(carol.name, new Date('2030-01-01'));
  await until(alices, () => alices.getUnread()!.total === 1 && alices.getUnread()!.chats === 1);
  other.setOnline(true);
  await until(other, () => other.getConnection().state === 'live' && other.getUnread()!.total === 1);
  expect(other.getUnread()).toEqual({ total: 1, chats: 1 });
  await other.markRead(bob.name);
  for (const chat of [alices, other]) await until(chat, () => chat.getUnread()!.total === 0);
});
