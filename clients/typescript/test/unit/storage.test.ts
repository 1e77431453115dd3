import 'fake-indexeddb/auto';
import { expect, test, vi } from 'vitest';
import { indexedDBStorage, memoryStorage, type ChatStorage } from '../../src/index.js';

const kinds: [string, () => ChatStorage][] = [
  ['memory', memoryStorage],
  ['IndexedDB', () => indexedDBStorage(`test-${Math.random()}`)],
];

test.each(kinds)('%s keeps entries under their keys', async (_, make) => {
  const storage = make();
  await storage.set('outbox/a/1', { text: 'one' });
  await storage.set('outbox/a/2', { text: 'two' });
  await storage.set('outbox/b/1', { text: 'other' });
  await storage.set('outbox/a/2', { text: 'two again' });
  expect(await storage.list('outbox/a/')).toEqual([
    ['outbox/a/1', { text: 'one' }],
    ['outbox/a/2', { text: 'two again' }],
  ]);
  await storage.delete('outbox/a/1');
  await storage.delete('outbox/a/1');
  expect(await storage.list('outbox/a/')).toHaveLength(1);
  expect(await storage.list('nothing/')).toEqual([]);
});

test('IndexedDB keeps entries across reloads', async () => {
  await indexedDBStorage('reloaded').set('key', 'value');
  expect(await indexedDBStorage('reloaded').list('')).toEqual([['key', 'value']]);
});

test('a database that the browser has closed is opened again', async () => {
  const opened: IDBDatabase[] = [];
  const open = indexedDB.open.bind(indexedDB);
  const spy = vi.spyOn(indexedDB, 'open').mockImplementation((...asked) => {
    const request = open(...asked);
    request.addEventListener('success', () => opened.push(request.result));
    return request;
  });
  const storage = indexedDBStorage('closed');
  await storage.set('key', 'value');
  opened[0]!.close();
  expect(await storage.list('')).toEqual([['key', 'value']]);
  expect(opened).toHaveLength(2);
  spy.mockRestore();
});

test('a page that wants to delete the database can', async () => {
  const storage = indexedDBStorage('deleted');
  await storage.set('key', 'value');
  await new Promise((resolve) => (indexedDB.deleteDatabase('deleted').onsuccess = resolve));
  expect(await storage.list('')).toEqual([]);
});

test('a browser without a database says so, so that memory takes over', async () => {
  const spy = vi.spyOn(indexedDB, 'open').mockImplementation(() => {
    throw new DOMException('not here', 'SecurityError');
  });
  await expect(indexedDBStorage('none').set('key', 'value')).rejects.toThrow('not here');
  spy.mockRestore();
});

test('a database that never opens is waited for once', async () => {
  vi.useFakeTimers();
  const spy = vi.spyOn(indexedDB, 'open').mockReturnValue({} as IDBOpenDBRequest);
  const storage = indexedDBStorage('hanging');
  const first = expect(storage.set('key', 'value')).rejects.toThrow('does not open');
  await vi.advanceTimersByTimeAsync(5_000);
  await first;
  await expect(storage.set('key', 'value')).rejects.toThrow('does not open');
  await expect(storage.list('')).rejects.toThrow('does not open');
  expect(spy).toHaveBeenCalledOnce();
  spy.mockRestore();
  vi.useRealTimers();
});
