/** The peer hears this often that the user is still typing. */
const AGAIN_MS = 3_000;
/** Without another key for this long, the user has stopped. */
const STOPPED_MS = 4_000;

/** Tells peers that the user is typing: not at each key, and that they have stopped by itself. */
export class TypingNotifier {
  readonly #active = new Map<string, { toldAt: number; timer: ReturnType<typeof setTimeout> }>();

  constructor(private readonly tell: (username: string, isTyping: boolean) => void) {}

  /** The user has pressed a key. */
  key(username: string): void {
    const now = Date.now();
    const active = this.#active.get(username);
    clearTimeout(active?.timer);
    const timer = setTimeout(() => this.stop(username), STOPPED_MS);
    const isDue = !active || now - active.toldAt >= AGAIN_MS;
    this.#active.set(username, { toldAt: isDue ? now : active.toldAt, timer });
    if (isDue) this.tell(username, true);
  }

  /** The user has stopped, or has sent the message. */
  stop(username: string): void {
    const active = this.#active.get(username);
    if (!active) return;
    clearTimeout(active.timer);
    this.#active.delete(username);
    this.tell(username, false);
  }

  /** Say nothing more. */
  close(): void {
    for (const { timer } of this.#active.values()) clearTimeout(timer);
    this.#active.clear();
  }
}
