// What people do with the chat page, in a real browser.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import {
  PHONE, accessibilityProblems, as, clickName, composer, launch, message, newTab, newWindow, openChat, row, someone, unique, untilState, write,
} from './browser.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

/** Two new people who have never written to each other. */
async function pair(t, options) {
  const names = [unique('ann'), unique('ben')];
  const [ann, ben] = await Promise.all(names.map((name) => someone(name, browser, t, options)));
  return { ann, ben, annName: names[0], benName: names[1] };
}

const trick = (page, name) => page.getByRole('button', { name }).click();

test('two ready-made users chat: unread, typing, ticks', async (t) => {
  const [alice, bob] = await Promise.all(['Alice', 'Bob'].map((name) => as(name, browser, t)));
  await alice.getByRole('button', { name: 'Write to bob' }).click();
  await write(alice, 'bob', 'Hello, how are you?');
  await untilState(alice, 'Hello, how are you?', 'sent', 'delivered');

  const chat = row(bob, 'alice');
  await chat.getByText('Hello, how are you?').waitFor();
  await chat.getByText('1 unread').waitFor();
  await untilState(alice, 'Hello, how are you?', 'delivered');
  await chat.click();
  await bob.getByText('New messages', { exact: true }).waitFor();
  await untilState(alice, 'Hello, how are you?', 'read');
  await chat.getByText('1 unread').waitFor({ state: 'detached' });

  await composer(bob, 'alice').pressSequentially('Fine');
  await alice.getByRole('main').getByText('typing…').waitFor();
  await composer(bob, 'alice').press('Enter');
  await message(alice, 'Fine').waitFor();
  await alice.getByRole('log').getByText('bob: Fine').waitFor({ state: 'attached' });
});

test('a message written offline waits, and is sent when the connection is back', async (t) => {
  const { ann, ben, annName, benName } = await pair(t);
  await openChat(ann, benName);
  await trick(ann, 'Go offline');
  await ann.getByRole('status').getByText('You are offline').waitFor();
  await write(ann, benName, 'Written in a tunnel');
  await untilState(ann, 'Written in a tunnel', 'pending');
  await trick(ann, 'Go online');
  await untilState(ann, 'Written in a tunnel', 'delivered');
  await row(ben, annName).getByText('Written in a tunnel').waitFor();
  assert.equal(await ann.getByRole('status').innerText(), '');
});

test('a killed connection comes back by itself', async (t) => {
  const { ann, ben, annName, benName } = await pair(t);
  await openChat(ann, benName);
  await trick(ann, 'Kill the connection');
  await write(ann, benName, 'Did you notice?');
  await row(ben, annName).getByText('Did you notice?').waitFor();
});

test('a pending message survives a reload, and arrives once', async (t) => {
  const { ann, ben, annName, benName } = await pair(t);
  await openChat(ann, benName);
  await trick(ann, 'Go offline');
  await write(ann, benName, 'Not lost');
  await untilState(ann, 'Not lost', 'pending');
  await ann.reload();
  await untilState(ann, 'Not lost', 'delivered');
  await row(ben, annName).click();
  await message(ben, 'Not lost').waitFor();
  await write(ben, annName, 'Got it');
  await message(ann, 'Got it').waitFor();
  assert.equal(await message(ann, 'Not lost').count(), 1);
  assert.equal(await message(ben, 'Not lost').count(), 1);
});

test('a second tab of the same user stays in step', async (t) => {
  const bob = await as('Bob', browser, t);
  const window = await newWindow(browser, t);
  const [first, second] = [await clickName(await newTab(window), 'Alice'), await clickName(await newTab(window), 'Alice')];
  for (const tab of [first, second]) await openChat(tab, 'bob');
  await openChat(bob, 'alice');
  const text = unique('seen in both tabs');
  await write(first, 'bob', text);
  for (const page of [second, bob]) await message(page, text).waitFor();
  const answer = unique('an answer');
  await write(bob, 'alice', answer);
  for (const page of [first, second]) await message(page, answer).waitFor();
  for (const page of [first, second, bob]) assert.equal(await message(page, text).count(), 1);
});

test('on a phone there is the list, or the chat, and nothing is wider than the screen', async (t) => {
  const { ann, benName } = await pair(t, { viewport: PHONE, isMobile: true, hasTouch: true });
  const overflow = () => ann.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(await overflow(), 0);
  await openChat(ann, benName);
  await write(ann, benName, 'W'.repeat(400));
  await untilState(ann, 'W'.repeat(400), 'delivered');
  assert.equal(await overflow(), 0);
  assert.equal(await ann.getByRole('navigation').isVisible(), false);
  await ann.getByRole('button', { name: 'Back to the list of chats' }).click();
  await row(ann, benName).waitFor();
  assert.equal(await composer(ann, benName).isVisible(), false);
});

test('what looks like HTML is text, and only safe addresses are links', async (t) => {
  const { ann, benName } = await pair(t);
  await openChat(ann, benName);
  await write(ann, benName, '<img src=x onerror="document.title=1"><b>bold</b> javascript:alert(1) (see https://example.com/a?b=c).');
  const sent = ann.locator('.message');
  await sent.getByText('<b>bold</b>').waitFor();
  assert.equal(await sent.locator('img, b').count(), 0);
  const link = sent.getByRole('link');
  assert.equal(await link.count(), 1);
  assert.equal(await link.getAttribute('href'), 'https://example.com/a?b=c');
  assert.match(await link.getAttribute('rel'), /noopener/);
  await write(ann, benName, 'مرحبا بالعالم');
  assert.equal(await message(ann, 'مرحبا بالعالم').locator('.text').evaluate((text) => getComputedStyle(text).direction), 'rtl');
});

test('a message that is refused can be tried again or deleted', async (t) => {
  const { ann, benName } = await pair(t);
  await openChat(ann, benName);
  const long = 'x'.repeat(70_000);
  await write(ann, benName, long);
  const failed = ann.locator('.message[data-state=failed]');
  await failed.waitFor();
  await failed.getByRole('button', { name: 'Try again' }).click();
  await failed.getByRole('button', { name: 'Delete' }).click();
  await failed.waitFor({ state: 'detached' });
});

test('each chat keeps its draft across a reload', async (t) => {
  const { ann, benName } = await pair(t);
  await openChat(ann, benName);
  await composer(ann, benName).fill('Half a thought');
  await ann.reload();
  await composer(ann, benName).waitFor();
  assert.equal(await composer(ann, benName).inputValue(), 'Half a thought');
  await openChat(ann, 'alice');
  assert.equal(await composer(ann, 'alice').inputValue(), '');
});

test('a hundred messages at once arrive in order, and older ones load without a jump', async (t) => {
  const { ann, benName } = await pair(t);
  await openChat(ann, benName);
  await trick(ann, 'Send 100');
  await untilState(ann, 'Message 100 of 100', 'delivered');
  await ann.reload();
  await message(ann, 'Message 100 of 100').waitFor();
  assert.ok(await ann.locator('.message').count() < 60, 'only what is visible is in the page');

  const history = ann.locator('.messages [data-virtuoso-scroller]');
  let steps = 0;
  while (!(await message(ann, 'Message 1 of 100').isVisible())) {
    assert.ok(++steps < 100, 'the beginning is never reached');
    await history.hover();
    await ann.mouse.wheel(0, -600);
    const order = await ann.locator('.message .text').evaluateAll((all) => all.map(({ textContent }) => Number(textContent.split(' ')[1])));
    assert.deepEqual(order, order.toSorted((a, b) => a - b));
  }
});

test('the page answers a token that is about to expire with a new one', async (t) => {
  const ann = await someone(unique('ann'), browser, t);
  await trick(ann, 'Token about to expire');
  const wire = ann.getByRole('complementary');
  const refreshes = wire.getByText('refresh_token', { exact: true });
  await wire.getByText('error', { exact: true }).waitFor({ timeout: 30_000 });
  await refreshes.nth(1).waitFor();
  await wire.getByText('live', { exact: true }).waitFor();
});

test('axe finds nothing serious, in the light and in the dark', async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    const { ann, ben, annName, benName } = await pair(t, { colorScheme });
    const fresh = await newTab(await newWindow(browser, t, { colorScheme }));
    assert.deepEqual(await accessibilityProblems(fresh), []);
    await openChat(ann, benName);
    await write(ann, benName, 'Look at https://example.com');
    await row(ben, annName).waitFor();
    assert.deepEqual(await accessibilityProblems(ben), []);
    await row(ben, annName).click();
    await write(ben, annName, 'I see');
    await message(ann, 'I see').waitFor();
    await trick(ann, 'Go offline');
    await ann.getByRole('status').getByText('You are offline').waitFor();
    assert.deepEqual(await accessibilityProblems(ann), []);
  }
});

test('the keyboard is enough', async (t) => {
  const { ann, benName } = await pair(t);
  await ann.keyboard.press('Alt+n');
  await ann.keyboard.type(benName);
  await ann.keyboard.press('Enter');
  await composer(ann, benName).and(ann.locator(':focus')).waitFor();
  await ann.keyboard.type('Hands off the mouse');
  await ann.keyboard.press('Enter');
  await untilState(ann, 'Hands off the mouse', 'delivered');
  await ann.keyboard.press('Escape');
  await ann.getByText('Choose a chat').waitFor();
  await ann.keyboard.press('Alt+ArrowDown');
  await message(ann, 'Hands off the mouse').waitFor();
});
