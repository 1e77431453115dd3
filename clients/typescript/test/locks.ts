/** Web Locks, as browsers have them. */
export function webLocks(): { request: (name: string, run: () => Promise<unknown>) => Promise<unknown> } {
  const held = new Map<string, Promise<unknown>>();
  return {
    request: (name, run) => {
      const next = (held.get(name) ?? Promise.resolve()).then(run);
      held.set(name, next.catch(() => {}));
      return next;
    },
  };
}
