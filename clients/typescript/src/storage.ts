/**
 * Where messages are kept until they are stored by the server: a map from texts to plain JSON values.
 *
 * An app may bring its own, for instance over React Native's AsyncStorage. If it fails, messages are kept in memory.
 */
export interface ChatStorage {
  /** Return all entries whose key begins with `prefix`, in any order. */
  list(prefix: string): Promise<readonly (readonly [key: string, value: unknown])[]>;
  /** Add or replace an entry. Resolves once a restart would find it. */
  set(key: string, value: unknown): Promise<void>;
  /** Remove an entry, if it is there. */
  delete(key: string): Promise<void>;
}

/** Keep messages in memory: they survive a lost connection, not a restart. */
export function memoryStorage(): ChatStorage {
  const entries = new Map<string, unknown>();
  return {
    list: async (prefix) => [...entries].filter(([key]) => key.startsWith(prefix)),
    set: async (key, value) => void entries.set(key, value),
    delete: async (key) => void entries.delete(key),
  };
}
