import type { MessageState } from '@bbgram/chat';

import { Icon, type IconName } from '../Icon';

const MARKS: Record<MessageState, [IconName, string]> = {
  pending: ['pending', 'waiting to be sent'],
  sent: ['sent', 'sent'],
  delivered: ['delivered', 'delivered'],
  read: ['delivered', 'read'],
  failed: ['failed', 'not sent'],
};

/** How far an own message has come: a clock, one tick, two, two in colour. */
export function Ticks({ state }: { state: MessageState }) {
  const [icon, words] = MARKS[state];
  return (
    <span className={`ticks ticks--${state}`} title={words}>
      <Icon name={icon} />
      <span className="visually-hidden">{words}</span>
    </span>
  );
}
