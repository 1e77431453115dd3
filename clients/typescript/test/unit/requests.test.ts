import type { Socket } from 'socket.io-client';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Requests } from '../../src/requests.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Requests over a connection that gives these answers, one after another. */
class Answered extends Requests {
  constructor(answers: object[]) {
    super(() => {});
    const emit = (_event: string, _payload: object, done: (late: null, answer: object) => void): void =>
      done(null, answers.shift()!);
    this.begin({ timeout: () => ({ emit }) } as unknown as Socket);
  }
}

const limited = (retryAfterMs: number): object => ({ success: false, error: 'No.', code: 'rate_limited', retryAfterMs });
const report = { chatId: 'c', seq: 1, reason: 'spam' };

test('a request that may succeed within minutes is sent again then', async () => {
  const answer = new Answered([limited(60_000), { success: true, reportId: 'r' }]).call('report', report);
  const heard = vi.fn();
  void answer.then(heard);
  await vi.advanceTimersByTimeAsync(59_000);
  expect(heard).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(heard).toHaveBeenCalledWith({ success: true, reportId: 'r' });
});

test('whoever would have to wait for hours is told so', async () => {
  const answer = new Answered([limited(3_600_000)]).call('report', report);
  await expect(answer).rejects.toMatchObject({ code: 'rate_limited', retryAfterMs: 3_600_000 });
});
