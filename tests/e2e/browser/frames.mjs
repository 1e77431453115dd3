// Prints how long frames of the chat page take, in a chat with few messages and in one with many: `make frames`.

import { jump, launch, loadMessages, message, openChat, scroller, someone, unique } from './browser.mjs';

const COUNTS = [100, 10_000];
/** Frames of scrolling, each by this many pixels: about as fast as a thumb. */
const [FRAMES, STEP] = [300, 80];

const browser = await launch();
const closers = [];
const test = { after: (close) => closers.push(close) };

console.log('| messages | while | frames | p50 | p95 | longest |\n| --- | --- | --- | --- | --- | --- |');
for (const count of COUNTS) {
  const names = [unique('ann'), unique('ben')];
  const [ann, ben] = await Promise.all(names.map((name) => someone(name, browser, test)));
  await openChat(ann, names[1]);
  await loadMessages(ann, ...names, count);
  await ann.getByRole('button', { name: 'Close the panel' }).click();
  const list = await scroller(ann);
  await ann.waitForFunction(jump, [list, count, count]);
  report(count, 'scrolling', await list.evaluate(scroll, { frames: FRAMES, step: STEP }));

  await ann.waitForFunction(jump, [list, count, count]);
  await openChat(ben, names[0]);
  const frames = await ann.evaluateHandle(record);
  await ben.getByRole('button', { name: 'Send 100' }).click();
  await message(ann, 'Message 100 of 100').waitFor();
  report(count, '100 messages arrive', await frames.evaluate((recorded) => recorded.times));
}
for (const close of closers) await close();
await browser.close();

/** Scrolls up, frame by frame, and back down at the top. Returns how long each frame took, in ms. Runs in the page. */
async function scroll(list, { frames, step }) {
  const times = [];
  let [last, way] = [performance.now(), -step];
  for (let frame = 0; frame < frames; frame++) {
    if (list.scrollTop === 0) way = step;
    list.scrollTop += way;
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times.slice(1);
}

/** Collects how long each frame takes from now on. Runs in the page. */
function record() {
  const recorded = { times: [] };
  let last;
  requestAnimationFrame(function next(now) {
    if (last) recorded.times.push(now - last);
    last = now;
    requestAnimationFrame(next);
  });
  return recorded;
}

function report(count, what, times) {
  const sorted = times.toSorted((a, b) => a - b);
  const [p50, p95] = [0.5, 0.95].map((part) => sorted[Math.floor(part * sorted.length)]);
  const figures = [p50, p95, sorted.at(-1)].map((time) => `${time.toFixed(1)} ms`);
  console.log(`| ${[count.toLocaleString('en'), what, times.length, ...figures].join(' | ')} |`);
}
