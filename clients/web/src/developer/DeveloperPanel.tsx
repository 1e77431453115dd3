import { useChatClient, useConnection } from '@bbgram/chat/react';
import { useState, useSyncExternalStore } from 'react';
import { Virtuoso } from 'react-virtuoso';

import { Icon, IconButton } from '../Icon';
import type { Auth } from '../session/auth';
import type { LoggedEvent, WireLog } from './WireLog';

const TIME = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
});

/** Characters of an event that a row shows: more than fit into it. */
const SUMMARY = 200;

interface Props {
  auth: Auth;
  wire: WireLog;
  /** The other user in the open chat. */
  peer: string | undefined;
  isLocal: boolean;
  isOnline: boolean;
  onOnline: (isOnline: boolean) => void;
  onClose: () => void;
}

/** Shows what goes over the wire, and lets developers try what happens when things go wrong. */
export function DeveloperPanel({ wire, onClose, ...rest }: Props) {
  const events = useSyncExternalStore(wire.subscribe, wire.get);
  return (
    <aside className="pane pane--panel" aria-label="Developer's panel">
      <header className="bar">
        <h2 className="bar__title">On the wire</h2>
        <ConnectionState />
        <IconButton icon="close" label="Close the panel" onClick={onClose} />
      </header>
      <Tricks {...rest} onClear={wire.clear} />
      <Virtuoso
        className="wire"
        data={events}
        computeItemKey={(_, event) => event.id}
        itemContent={(_, event) => <WireRow event={event} />}
      />
    </aside>
  );
}

function ConnectionState() {
  const { state } = useConnection();
  return <span className={`state state--${state}`}>{state}</span>;
}

type TricksProps = Omit<Props, 'wire' | 'onClose'> & { onClear: () => void };

function Tricks({ auth, peer, isLocal, isOnline, onOnline, onClear }: TricksProps) {
  const chat = useChatClient();
  const [error, setError] = useState('');

  function toggleOnline() {
    chat.setOnline(!isOnline);
    onOnline(!isOnline);
  }

  function send100() {
    for (let number = 1; number <= 100; number++) chat.send(peer!, `Message ${number} of 100`);
  }

  async function expireSoon() {
    try {
      await auth.expireSoon();
      await chat.refreshToken();
      setError('');
    } catch (problem) {
      setError((problem as Error).message);
    }
  }

  return (
    <div className="tricks">
      <button type="button" className="button" onClick={() => chat.dropConnection()}>
        Kill the connection
      </button>
      <button type="button" className="button" aria-pressed={!isOnline} onClick={toggleOnline}>
        {isOnline ? 'Go offline' : 'Go online'}
      </button>
      <button type="button" className="button" disabled={!peer} onClick={send100}>
        Send 100
      </button>
      <button
        type="button"
        className="button"
        disabled={!isLocal}
        title={isLocal ? 'Use a token that is valid for 20 s' : 'Only with the local stack'}
        onClick={() => void expireSoon()}
      >
        Token about to expire
      </button>
      <button type="button" className="button button--plain" onClick={onClear}>
        Clear
      </button>
      <p className="error" role="alert">
        {error}
      </p>
    </div>
  );
}

function WireRow({ event }: { event: LoggedEvent }) {
  const isAck = event.ack !== undefined;
  const content = isAck ? event.ack : event.data;
  // A page of history is long, and most rows are never opened.
  const [isOpen, setIsOpen] = useState(false);
  return (
    <details className="wire-row" onToggle={({ currentTarget }) => setIsOpen(currentTarget.open)}>
      <summary>
        <time>{TIME.format(event.at)}</time>
        <span className={`wire-row__way wire-row__way--${event.direction}`}>
          <Icon name={event.direction} />
          <span className="visually-hidden">{event.direction === 'in' ? 'received' : 'sent'}</span>
        </span>
        <code className="wire-row__what">
          {event.name}
          {isAck && ' ack'} <span className="muted">{JSON.stringify(content)?.slice(0, SUMMARY)}</span>
        </code>
      </summary>
      {isOpen && (
        <pre dir="ltr" tabIndex={0}>
          {JSON.stringify(content, null, 2)}
        </pre>
      )}
    </details>
  );
}
