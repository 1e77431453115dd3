import { expect, test } from 'vitest';
import { Timeline, type Page } from '../../src/timeline.js';
import { message, run } from './messages.js';

const page = (first: number, last: number, fields: Partial<Page> = {}): Page => ({
  messages: run(first, last),
  hasMore: first > 1,
  ...fields,
});
const seqs = (timeline: Timeline): number[] => timeline.ordered.map(({ seq }) => seq);

function opened(first: number, last: number): Timeline {
  const timeline = new Timeline();
  timeline.takeNewest(page(first, last));
  return timeline;
}

test('messages that come in any order, some twice, are sorted and here once', () => {
  const timeline = opened(1, 2);
  for (const seq of [5, 3, 5, 4, 3, 2]) timeline.add(message(seq));
  expect(seqs(timeline)).toEqual([1, 2, 3, 4, 5]);
  expect(timeline).toMatchObject({ first: 1, last: 5, hasHole: false, hasOlder: false });
});

test('a missing message is a hole until it comes', () => {
  const timeline = opened(1, 2);
  timeline.add(message(4));
  expect(timeline).toMatchObject({ last: 2, top: 4, hasHole: true });
  timeline.add(message(3));
  expect(timeline).toMatchObject({ last: 4, hasHole: false });
});

test('a run fills a hole, also where messages are not stored any more', () => {
  const timeline = opened(1, 2);
  timeline.add(message(9));
  timeline.append(2, [message(5), message(6)], 8);
  expect(seqs(timeline)).toEqual([1, 2, 5, 6, 9]);
  expect(timeline).toMatchObject({ last: 9, hasHole: false });
});

test('a run that begins beyond what is here is not taken', () => {
  const timeline = opened(1, 2);
  timeline.append(4, run(5, 6), 6);
  expect(seqs(timeline)).toEqual([1, 2]);
});

test('older pages are put in front, and the last one says so', () => {
  const timeline = opened(101, 150);
  timeline.prepend(101, page(51, 100));
  expect(timeline).toMatchObject({ first: 51, hasOlder: true });
  timeline.prepend(51, page(1, 50));
  expect(timeline).toMatchObject({ first: 1, hasOlder: false });
  timeline.prepend(101, page(2, 3));
  expect(timeline.first).toBe(1);
});

test('a page before which messages are in the archive says where', () => {
  const timeline = new Timeline();
  timeline.takeNewest(page(101, 150, { archivedBefore: 101 }));
  expect(timeline).toMatchObject({ hasOlder: true, archivedBefore: 101 });
  timeline.prepend(101, { messages: [], hasMore: false, archivedBefore: 101 });
  expect(timeline).toMatchObject({ first: 101, hasOlder: false, archivedBefore: 101 });
});

test('a newest page that connects extends what is here, and one that does not replaces it', () => {
  const timeline = opened(1, 60);
  timeline.takeNewest(page(31, 80));
  expect(timeline).toMatchObject({ first: 1, last: 80, hasOlder: false });
  timeline.add(message(301));
  timeline.takeNewest(page(201, 250));
  expect(timeline).toMatchObject({ first: 201, last: 250, top: 301, hasHole: true, hasOlder: true });
  expect(seqs(timeline)).toEqual([...run(201, 250).map(({ seq }) => seq), 301]);
});

test('a newest page that covers more than what is here keeps both', () => {
  const timeline = new Timeline();
  timeline.skipTo(60, message(60));
  timeline.takeNewest(page(11, 60));
  expect(timeline).toMatchObject({ first: 11, last: 60, hasOlder: true });
});

test('an empty chat begins with its first message', () => {
  const timeline = new Timeline();
  timeline.takeNewest({ messages: [], hasMore: false });
  expect(timeline).toMatchObject({ hasHole: false, hasOlder: false });
  timeline.add(message(1));
  expect(timeline).toMatchObject({ first: 1, last: 1 });
  timeline.add(message(3));
  expect(timeline.hasHole).toBe(true);
});

test('a chat that nobody looks at keeps its newest message', () => {
  const timeline = new Timeline();
  timeline.skipTo(10, message(10));
  expect(timeline).toMatchObject({ first: 10, last: 10, hasOlder: true, hasHole: false });
  timeline.add(message(8));
  expect(seqs(timeline)).toEqual([10]);
  timeline.add(message(9));
  timeline.skipTo(11, message(11));
  expect(seqs(timeline)).toEqual([9, 10, 11]);
  timeline.skipTo(50, message(50));
  expect(seqs(timeline)).toEqual([50]);
  timeline.skipTo(60, null);
  expect(timeline).toMatchObject({ first: 61, last: 60, hasOlder: true, hasHole: false });
});

test('whatever comes in whatever order, nothing is twice and every gap is known', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = generator(seed);
    const timeline = opened(5, 9);
    const stored = 30;
    const known = new Set([5, 6, 7, 8, 9]);
    for (let step = 0; step < 60; step++) {
      const seq = 1 + Math.floor(random() * stored);
      if (random() < 0.7) timeline.add(message(seq));
      else if (random() < 0.5) timeline.append(timeline.last, run(timeline.last + 1, Math.max(timeline.last, seq)), seq);
      else timeline.prepend(timeline.first!, page(Math.max(1, timeline.first! - 4), timeline.first! - 1));
      timeline.ordered.forEach(({ seq }) => known.add(seq));
    }
    const here = seqs(timeline);
    expect(here).toEqual([...new Set(here)].sort((a, b) => a - b));
    expect(here).toEqual([...known].sort((a, b) => a - b));
    for (let seq = timeline.first!; seq <= timeline.last; seq++) expect(here).toContain(seq);
    expect(timeline.hasHole).toBe(here.at(-1)! > timeline.last);
  }
});

function generator(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

test('of two versions of a message, the one with the higher change is kept', () => {
  const timeline = opened(1, 3);
  expect(timeline.change(message(2, { text: 'newer', change: 5 }))).toBe(true);
  expect(timeline.change(message(2, { text: 'older', change: 4 }))).toBe(false);
  timeline.append(0, [message(2, { text: 'from a page', change: 3 })], 2);
  timeline.add(message(2));
  expect(timeline.get(2)!.text).toBe('newer');
  timeline.add(message(2, { text: 'newest', change: 6 }));
  expect(timeline.ordered.map(({ text }) => text)).toEqual(['text 1', 'newest', 'text 3']);
});

test('a change of a message that is not here is ignored', () => {
  const timeline = opened(5, 6);
  expect(timeline.change(message(2, { change: 1 }))).toBe(false);
  expect(seqs(timeline)).toEqual([5, 6]);
});

test('a reply shows what it answers as it is now', () => {
  const timeline = opened(1, 2);
  timeline.add(message(3, { replyTo: { seq: 1, senderId: 'bob-id', senderUsername: 'bob', text: 'text 1' } }));
  timeline.change(message(1, { text: 'x'.repeat(201), change: 1 }));
  expect(timeline.get(3)!.replyTo!.text).toBe('x'.repeat(200));
  timeline.change(message(1, { text: '', change: 2, deletedAt: '2026-01-01T00:00:00.000Z' }));
  expect(timeline.get(3)!.replyTo).toMatchObject({ text: '', deletedAt: '2026-01-01T00:00:00.000Z' });
});

test('a reply to what the app said shows that nobody has said it', () => {
  const timeline = opened(1, 2);
  timeline.add(message(3, { kind: 'system' }));
  expect(timeline.quote(3)).toMatchObject({ kind: 'system', text: 'text 3' });
});

test('a reply that was on its way while its message changed shows what is known to be newer', () => {
  const timeline = opened(1, 2);
  timeline.change(message(1, { text: '', change: 4, deletedAt: '2026-01-01T00:00:00.000Z' }));
  timeline.add(message(3, { replyTo: { seq: 1, senderId: 'bob-id', senderUsername: 'bob', text: 'text 1', change: 3 } }));
  expect(timeline.get(3)!.replyTo).toMatchObject({ text: '', change: 4, deletedAt: '2026-01-01T00:00:00.000Z' });
  timeline.add(message(4, { replyTo: { seq: 1, senderId: 'bob-id', senderUsername: 'bob', text: 'later', change: 5 } }));
  expect(timeline.get(4)!.replyTo!.text).toBe('later');
});

test('what is cleared is gone, and what comes after it is not', () => {
  const timeline = opened(3, 6);
  timeline.clear(4);
  expect(seqs(timeline)).toEqual([5, 6]);
  expect(timeline).toMatchObject({ first: 5, last: 6, hasOlder: false, hasHole: false });
  timeline.clear(9);
  timeline.add(message(10));
  expect(seqs(timeline)).toEqual([10]);
  expect(timeline.hasHole).toBe(false);
});

test.each<[string, (timeline: Timeline) => void]>([
  ['came again', (timeline) => timeline.add(message(6))],
  ['came again, from further back', (timeline) => timeline.add(message(3))],
  ['is on a page of the newest', (timeline) => timeline.takeNewest(page(4, 6))],
  ['is on a page of older ones', (timeline) => timeline.prepend(7, page(3, 6))],
  ['is in an answer to what was missed', (timeline) => timeline.append(6, run(5, 6), 6)],
  ['is in the list of chats', (timeline) => timeline.skipTo(6, message(6))],
])('a message that was on its way when it was cleared stays away: it %s', (_, arrives) => {
  const timelines = [opened(3, 6), new Timeline()];
  for (const timeline of timelines) {
    timeline.clear(6);
    arrives(timeline);
    expect(seqs(timeline)).toEqual([]);
    timeline.add(message(7));
    timeline.add(message(8));
    expect(seqs(timeline)).toEqual([7, 8]);
    expect(timeline.hasHole).toBe(false);
  }
});
