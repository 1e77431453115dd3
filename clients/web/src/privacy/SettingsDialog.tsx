import type { Settings } from '@bbgram/chat';
import { useChatClient, useSettings } from '@bbgram/chat/react';

import { Dialog } from '../Dialog';
import { useAttempt } from '../useAttempt';
import { BlockedPeople } from './BlockedPeople';

const MESSAGES_FROM: Record<Settings['messagesFrom'], string> = {
  everyone: 'Everyone',
  requests: 'Everyone, as a message request',
  nobody: 'Nobody',
};
const SHOW_PRESENCE: Record<Settings['showPresence'], string> = {
  everyone: 'Everyone',
  chats: 'People I have written with',
  nobody: 'Nobody',
};

/** The user's settings, which are the same on all devices, and whom they have blocked. */
export function SettingsDialog({ onClose }: { onClose: () => void }) {
  const { attempt, problem } = useAttempt();
  return (
    <Dialog title="Settings" onClose={onClose}>
      <OwnSettings onChange={attempt} />
      <p className="error" role="alert">
        {problem && `Not changed. ${problem}`}
      </p>
      <BlockedPeople />
    </Dialog>
  );
}

function OwnSettings({ onChange }: { onChange: (change: Promise<void>) => void }) {
  const chat = useChatClient();
  const settings = useSettings();
  if (!settings) return <p className="note">Loading…</p>;
  const { messagesFrom, showPresence, readReceipts, pushTexts } = settings;
  const change = (changes: Partial<Settings>) => onChange(chat.updateSettings(changes));
  return (
    <>
      <Choice
        label="New people who may write to me"
        names={MESSAGES_FROM}
        value={messagesFrom}
        onChange={(messagesFrom) => change({ messagesFrom })}
      />
      <Choice
        label="Who sees whether I am online"
        names={SHOW_PRESENCE}
        value={showPresence}
        onChange={(showPresence) => change({ showPresence })}
      />
      <Switch label="Others see when I have read their messages" value={readReceipts} onChange={(readReceipts) => change({ readReceipts })} />
      <Switch label="Notifications show what messages say" value={pushTexts} onChange={(pushTexts) => change({ pushTexts })} />
    </>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  names: Record<T, string>;
  value: T;
  onChange: (value: T) => void;
}

function Choice<T extends string>({ label, names, value, onChange }: ChoiceProps<T>) {
  return (
    <label className="field">
      {label}
      <select value={value} onChange={(event) => onChange(event.target.value as T)}>
        {(Object.entries(names) as [T, string][]).map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

function Switch({ label, value, onChange }: { label: string; value: boolean; onChange: (value: boolean) => void }) {
  return (
    <label className="switch">
      <input type="checkbox" checked={value} onChange={(event) => onChange(event.target.checked)} />
      {label}
    </label>
  );
}
