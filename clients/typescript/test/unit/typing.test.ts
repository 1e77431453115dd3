import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { TypingNotifier } from '../../src/typing.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('the peer hears of typing now and then, and once that it has ended', () => {
  const told: [string, boolean][] = [];
  const typing = new TypingNotifier((username, isTyping) => told.push([username, isTyping]));
  for (let key = 0; key < 40; key++) {
    typing.key('bob');
    vi.advanceTimersByTime(100);
  }
  expect(told).toEqual([['bob', true], ['bob', true]]);
  vi.advanceTimersByTime(10_000);
  expect(told).toEqual([['bob', true], ['bob', true], ['bob', false]]);
  typing.stop('bob');
  typing.key('carol');
  typing.close();
  vi.advanceTimersByTime(10_000);
  expect(told.slice(3)).toEqual([['carol', true]]);
});
