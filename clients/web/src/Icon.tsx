import type { MouseEvent } from 'react';

const PATHS = {
  chat: 'M5 5h14a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-8l-5 4v-4H5a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2z',
  back: 'm15 5-7 7 7 7',
  send: 'M4 12 20 4l-5 16-3.500-6.500zM11.500 13.500 20 4',
  plus: 'M12 5v14M5 12h14',
  close: 'm6 6 12 12M18 6 6 18',
  code: 'm8 7-5 5 5 5m8-10 5 5-5 5',
  bell: 'M6 16V11a6 6 0 1 1 12 0v5l1.500 2h-15zM10 21h4',
  leave: 'M10 4H5v16h5M9 12h11m-4-4 4 4-4 4',
  down: 'm6 9 6 6 6-6',
  clear: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5m4-5v5',
  more: 'M6 12v.010M12 12v.010M18 12v.010',
  in: 'M12 4v16m-6-6 6 6 6-6',
  out: 'M12 20V4m-6 6 6-6 6 6',
  pending: 'M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z',
  sent: 'm5 12.500 4.500 4.500L19 7',
  delivered: 'm2 12.500 4.500 4.500L16 7m-4.500 9.500.500.500L21.500 7',
  failed: 'M12 7v6m0 3.500v.200M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z',
} as const;

export type IconName = keyof typeof PATHS;

/** A line drawing in the colour of the text around it. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** A button with a drawing only; `label` is what screen readers and tooltips say. */
export function IconButton({
  icon,
  label,
  onClick,
  pressed,
  type = 'button',
  disabled,
  className = '',
}: {
  icon: IconName;
  label: string;
  onClick?: (event: MouseEvent<HTMLButtonElement>) => void;
  pressed?: boolean;
  type?: 'button' | 'submit';
  disabled?: boolean;
  className?: string;
}) {
  return (
    <button
      type={type}
      className={`icon-button ${className}`}
      title={label}
      aria-label={label}
      aria-pressed={pressed}
      onClick={onClick}
      disabled={disabled}
    >
      <Icon name={icon} />
    </button>
  );
}
