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

/** One of six colours. */
function hue(name: string): number {
  return [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)!) % 6, 0);
}
