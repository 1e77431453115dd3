const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: 'long' });
const DATE = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const SHORT_DATE = new Intl.DateTimeFormat(undefined, { day: '2-digit', month: '2-digit', year: '2-digit' });
const DAY_MS = 86_400_000;

/** Days from one local date to another, whatever the clock says. */
function daysBetween(from: Date, to: Date): number {
  const [a, b] = [from, to].map((date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()));
  return (b! - a!) / DAY_MS;
}

/** `14:05`. */
export const clock = (iso: string): string => CLOCK.format(new Date(iso));

/** `Today`, `Yesterday`, `Monday`, or a date. */
export function day(iso: string, now = new Date()): string {
  const date = new Date(iso);
  const ago = daysBetween(date, now);
  if (ago === 0) return 'Today';
  if (ago === 1) return 'Yesterday';
  return ago > 0 && ago < 7 ? WEEKDAY.format(date) : DATE.format(date);
}

/** What fits into a list: a time today, else a day. */
export function shortTime(iso: string, now = new Date()): string {
  const date = new Date(iso);
  const ago = daysBetween(date, now);
  if (ago === 0) return CLOCK.format(date);
  return ago > 0 && ago < 7 ? day(iso, now) : SHORT_DATE.format(date);
}

export const isSameDay = (a: string, b: string): boolean => daysBetween(new Date(a), new Date(b)) === 0;
