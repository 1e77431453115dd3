import type { ChatError } from '@bbgram/chat';
import { useCallback, useState } from 'react';

/** Waits for a change of which the page shows already what becomes of it. */
export type Attempt = (change: Promise<unknown>, onRefused?: () => void) => void;

/** What tries changes, and why the last one was refused. */
export function useAttempt(): { attempt: Attempt; problem: string | undefined; dismiss: () => void } {
  const [problem, setProblem] = useState<string>();
  const attempt = useCallback<Attempt>((change, onRefused) => {
    setProblem(undefined);
    change.catch((error: ChatError) => {
      setProblem(error.message);
      onRefused?.();
    });
  }, []);
  return { attempt, problem, dismiss: () => setProblem(undefined) };
}
