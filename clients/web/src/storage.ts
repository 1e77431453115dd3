/** What the browser keeps for this page. Where it may keep nothing (blocked site data, a full disk), lasts until a reload. */
export interface SafeStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
  /** All keys that start with `prefix`. */
  keys(prefix: string): string[];
}

/** Of this browser, for all tabs. */
export const local = safe(() => localStorage);

/** Of this tab. */
export const tab = safe(() => sessionStorage);

/** Looking at the storage already throws where site data is blocked: hence a function. */
function safe(open: () => Storage): SafeStorage {
  const memory = new Map<string, string>();
  return {
    getItem: (key) => memory.get(key) ?? attempt(() => open().getItem(key)) ?? null,
    setItem(key, value) {
      const isKept = attempt(() => (open().setItem(key, value), true));
      if (isKept) memory.delete(key);
      else memory.set(key, value);
    },
    removeItem(key) {
      memory.delete(key);
      attempt(() => open().removeItem(key));
    },
    keys(prefix) {
      const stored = attempt(() => Object.keys(open())) ?? [];
      return [...new Set([...stored, ...memory.keys()])].filter((key) => key.startsWith(prefix));
    },
  };
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
