const CANDIDATE = /\b(?:https?:\/\/|mailto:)[^\s<>"“”]+/gi;
const PUNCTUATION = new Set(".,:;!?'’*_…");
/** No name of a server is that long, and browsers work long on one that is. */
const LONG_HOST = /^https?:[/\\]*[^/?#\\]{256}/i;
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

/**
 * Leaves out what belongs to the sentence: punctuation, and a bracket that was opened before the link. Goes once over the link
 * from each side: a message may hold anything, and is shown to somebody else.
 */
function trimmed(link: string): string {
  let unopened = 0;
  for (const letter of link) unopened += letter === ')' ? 1 : letter === '(' ? -1 : 0;
  let end = link.length;
  for (; end > 0; end--) {
    const letter = link[end - 1]!;
    if (letter === ')' && unopened > 0) unopened--;
    else if (!PUNCTUATION.has(letter)) break;
  }
  return link.slice(0, end);
}

function safe(link: string): string | undefined {
  if (LONG_HOST.test(link)) return undefined;
  try {
    const url = new URL(link);
    return SAFE.has(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}
