import type { ChatError } from './errors.js';

const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/** How long to wait before the next try: longer after each one, by chance shorter, and never less than the server asks for. */
export function pauseMs(tries: number, error?: ChatError): number {
  const grown = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(tries, 10));
  return Math.max(error?.retryAfterMs ?? 0, grown * (0.5 + Math.random() / 2));
}

/** Wait that long. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Wait for something, but no longer than that. */
export async function within(ms: number, result: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([result, new Promise((resolve) => (timer = setTimeout(resolve, ms)))]).finally(() => clearTimeout(timer));
}
