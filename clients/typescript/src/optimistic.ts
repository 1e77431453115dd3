/** A state of the server, shown with the changes that it is asked for. One that it refuses is as if it had never been. */
export class Optimistic<T extends object> {
  readonly #changes = new Set<(state: T) => Partial<T>>();
  #server: T;
  #shown: T | undefined;

  constructor(server: T) {
    this.#server = server;
  }

  /** The state as the server has it. */
  get server(): T {
    return this.#server;
  }

  /** The state as it will be. The same object until something changes. */
  get shown(): T {
    return (this.#shown ??= [...this.#changes].reduce((state, change) => ({ ...state, ...change(state) }), this.#server));
  }

  /** Take what the server says. */
  take(server: Partial<T>): void {
    this.#server = { ...this.#server, ...server };
    this.#shown = undefined;
  }

  /** Show a change while the server is asked, which answers with what has become of it. */
  async attempt(change: (state: T) => Partial<T>, ask: () => Promise<Partial<T>>, changed: () => void): Promise<void> {
    this.#changes.add(change);
    this.#shown = undefined;
    changed();
    try {
      this.take(await ask());
    } finally {
      this.#changes.delete(change);
      this.#shown = undefined;
      changed();
    }
  }
}
