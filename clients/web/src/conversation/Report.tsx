import type { ChatError, ChatItem, ChatMessage } from '@bbgram/chat';
import { useChatClient } from '@bbgram/chat/react';
import { useState, type FormEvent } from 'react';

import { nameOf } from '../Avatar';
import { Dialog } from '../Dialog';
import type { Attempt } from '../useAttempt';
import { block } from './block';
import { wordsOf } from './words';

/** Why a message may be reported. The server takes any word; these are the ones of this page. */
const REASONS = {
  spam: 'Spam or fraud',
  harassment: 'Insults or harassment',
  violence: 'Threats or violence',
  sexual: 'Unwanted sexual content',
  other: 'Something else',
};

/** What the server takes. */
const LONGEST_NOTE = 1_000;

interface Props {
  item: ChatItem;
  message: ChatMessage;
  /** Called with what becomes of a report. */
  onReport: (report: Promise<unknown>) => void;
  /** Blocks the other user. */
  attempt: Attempt;
  onClose: () => void;
}

/** Asks why a message is reported, and reports it. */
export function ReportDialog({ item, message, onReport, attempt, onClose }: Props) {
  const chat = useChatClient();
  const { chatId, peer, blocked } = item;

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const { submitter } = event.nativeEvent as SubmitEvent;
    const given = new FormData(event.currentTarget, submitter);
    const note = String(given.get('note')).trim();
    onReport(chat.report(chatId ?? peer.username, message.seq!, String(given.get('reason')), note || undefined));
    // Whatever becomes of the report, the user wants to hear no more of them.
    if (given.has('block')) attempt(block(chat, item));
    event.currentTarget.closest('dialog')?.close();
    onClose();
  }

  return (
    <Dialog title="Report this message" onClose={onClose}>
      <form className="report" onSubmit={submit}>
        <blockquote className="quoted" dir="auto">
          <cite>{nameOf(peer)}</cite>
          {wordsOf(message)}
        </blockquote>
        <fieldset>
          <legend>What is wrong with it?</legend>
          {Object.entries(REASONS).map(([reason, words]) => (
            <label key={reason} className="switch">
              <input type="radio" name="reason" value={reason} required />
              {words}
            </label>
          ))}
        </fieldset>
        <label className="field">
          Anything to add? (optional)
          <textarea name="note" rows={2} dir="auto" maxLength={LONGEST_NOTE} />
        </label>
        <p className="muted">
          The people who run this chat will see this message and up to ten before it. <bdi>{nameOf(peer)}</bdi> is not told.
        </p>
        <div className="dialog__buttons">
          <button type="submit" className="button button--main">
            Report
          </button>
          {!blocked && (
            <button type="submit" name="block" className="button button--danger">
              Report and block
            </button>
          )}
        </div>
      </form>
    </Dialog>
  );
}

/** What has become of a report. */
export interface Outcome {
  words: string;
  isRefused: boolean;
}

/** What becomes of reports, one after another. */
export function useReports(): { follow: (report: Promise<unknown>) => void; outcome: Outcome | undefined; dismiss: () => void } {
  const [outcome, setOutcome] = useState<Outcome>();
  const dismiss = () => setOutcome(undefined);

  function follow(report: Promise<unknown>) {
    dismiss();
    report.then(
      () => setOutcome({ words: 'Reported to the people who run this chat.', isRefused: false }),
      (error: ChatError) => setOutcome({ words: `Not reported. ${error.message}`, isRefused: true }),
    );
  }

  return { follow, outcome, dismiss };
}

