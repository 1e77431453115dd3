import type { ChatStorage } from './storage.js';

const STORE = 'entries';
/** A browser that does not open the database by then counts as one without: messages are kept in memory. */
const OPEN_MS = 5_000;

/** Keep messages in a browser's IndexedDB database of that name: they survive reloads, and all tabs share them. */
export function indexedDBStorage(name: string): ChatStorage {
  let opening: Promise<IDBDatabase> | undefined;
  let hasOpened = false;
  /** One that has never opened is not waited for again. */
  const forget = (): void => void (hasOpened && (opening = undefined));

  async function once<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => T): Promise<T> {
    const database = await (opening ??= open(name, forget));
    hasOpened = true;
    const transaction = database.transaction(STORE, mode);
    const requests = act(transaction.objectStore(STORE));
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
    return requests;
  }

  /** Browsers close databases as they like: then open it again. */
  const run: typeof once = (mode, act) =>
    once(mode, act).catch(() => {
      forget();
      return once(mode, act);
    });

  return {
    list: async (prefix) => {
      const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
      const [keys, values] = await run('readonly', (store) => [store.getAllKeys(range), store.getAll(range)] as const);
      return keys.result.map((key, place) => [String(key), values.result[place]] as const);
    },
    set: async (key, value) => void (await run('readwrite', (store) => store.put(value, key))),
    delete: async (key) => void (await run('readwrite', (store) => store.delete(key))),
  };
}

function open(name: string, lost: () => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    setTimeout(() => reject(new Error('IndexedDB does not open')), OPEN_MS);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      database.onclose = lost;
      database.onversionchange = () => {
        database.close();
        lost();
      };
      resolve(database);
    };
  });
}
