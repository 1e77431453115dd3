/** A round picture with the first letter of a name, in a colour that belongs to the name. */
export function Avatar({ name, online }: { name: string; online?: boolean }) {
  const [first = '?'] = new Intl.Segmenter().segment(name)[Symbol.iterator]().next().value?.segment ?? '?';
  return (
    <span className={`avatar avatar--${hue(name)}`} aria-hidden="true">
      {first.toUpperCase()}
      {online && <span className="avatar__online" />}
    </span>
  );
}

const COLOURS = 8;

function hue(name: string): number {
  let hash = 0;
  for (const letter of name.toLowerCase()) hash = Math.imul(hash ^ letter.codePointAt(0)!, 0x9e3779b1) >>> 0;
  return (hash >>> 16) % COLOURS;
}
