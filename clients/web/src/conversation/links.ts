const CANDIDATE = /\b(?:https?:\/\/|mailto:)[^\s<>"“”]+/gi;
const TRAILING = /[.,:;!?'’*_…]+$/;
const SAFE = new Set(['http:', 'https:', 'mailto:']);

/** A piece of a text; with `href`, a link. */
export interface Piece {
  text: string;
  href?: string;
}

/** Cuts a text into plain pieces and links to web pages and mail addresses. Nothing else becomes a link. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(CANDIDATE)) {
    const link = trimmed(match[0]);
    const href = safe(link);
    if (!href) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ text: link, href });
    end = match.index + link.length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

/** Leaves out what belongs to the sentence: punctuation, and a bracket that was opened before the link. */
function trimmed(link: string): string {
  let rest = link.replace(TRAILING, '');
  let unopened = count(rest, ')') - count(rest, '(');
  for (; rest.endsWith(')') && unopened > 0; unopened--) rest = rest.slice(0, -1).replace(TRAILING, '');
  return rest;
}

const count = (text: string, letter: string): number => text.split(letter).length - 1;

function safe(link: string): string | undefined {
  try {
    const url = new URL(link);
    return SAFE.has(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}
