// How people change messages in the chat page: a menu on each, with the mouse or with keys alone.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import {
  PHONE,
  accessibilityProblems,
  anotherTab,
  composer,
  eventually,
  launch,
  message,
  openChat,
  pair,
  row,
  screenshots,
  sql,
  untilState,
  write,
} from './browser.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const button = (page, name) => page.getByRole('button', { name, exact: true });
const chip = (page, text, name) => message(page, text).getByRole('button', { name, exact: true });
const menu = (page) => page.getByRole('dialog', { name: 'Message actions' });

async function choose(page, text, action) {
  await message(page, text).hover();
  await message(page, text).getByRole('button', { name: 'Message actions' }).click();
  await menu(page).getByRole('button', { name: action, exact: true }).click();
}

describe('changes in the chat page', { concurrency: 2 }, () => {
  it('a message is edited, and what was being written meanwhile is kept', async (t) => {
    const { ann, ben, benName } = await pair(browser, t);
    await write(ann, benName, 'Helo');
    await untilState(ann, 'Helo', 'delivered', 'read');
    await composer(ann, benName).fill('The next one');
    await choose(ann, 'Helo', 'Edit message');
    assert.equal(await composer(ann, benName).inputValue(), 'Helo');
    await composer(ann, benName).fill('Hello');
    await button(ann, 'Save').click();
    for (const page of [ann, ben]) await message(page, 'Hello').getByText('edited').waitFor();
    assert.equal(await message(ben, 'Helo').count(), 0);
    assert.equal(await composer(ann, benName).inputValue(), 'The next one');
    // The peer's messages cannot be edited or unsent.
    await message(ben, 'Hello').getByRole('button', { name: 'Message actions' }).click();
    assert.equal(await menu(ben).getByRole('button', { name: 'Reply' }).count(), 1);
    assert.equal(await menu(ben).getByRole('button', { name: /Edit|Unsend/ }).count(), 0);
  });

  it('reactions are added and taken back, in the menu and on the message', async (t) => {
    const { ann, ben, annName } = await pair(browser, t);
    await write(ben, annName, 'Good news');
    await message(ann, 'Good news').waitFor();
    await choose(ann, 'Good news', 'React with ❤️');
    await chip(ben, 'Good news', '❤️').click();
    await chip(ann, 'Good news', '❤️ 2').waitFor();
    await message(ann, 'Good news').locator('[aria-pressed=true]').click();
    await chip(ben, 'Good news', '❤️').waitFor();
    await message(ben, 'Good news').locator('[aria-pressed=true]').click();
    await eventually(() => ann.getByRole('list', { name: 'Reactions' }).count(), 0);
  });

  it('a message is taken back once that is confirmed, and nothing on the page says it any more', async (t) => {
    const { ann, ben, annName, benName } = await pair(browser, t);
    await write(ann, benName, 'A secret');
    await message(ben, 'A secret').waitFor();
    await choose(ben, 'A secret', 'Reply');
    await ben.getByText(`Reply to ${annName}:`).waitFor();
    await write(ben, annName, 'Really?');
    await message(ann, 'Really?').getByRole('blockquote').filter({ hasText: 'A secret' }).waitFor();
    assert.deepEqual(await accessibilityProblems(ann), []);
    await screenshots(ann, 'reply');

    await choose(ann, 'A secret', 'Unsend…');
    await button(ann, 'Keep it').click();
    await message(ann, 'A secret').waitFor();
    await choose(ann, 'A secret', 'Unsend…');
    await button(ann, 'Take it back').click();
    for (const page of [ann, ben]) {
      await message(page, 'Message deleted').first().waitFor();
      await message(page, 'Really?').getByRole('blockquote').filter({ hasText: 'Message deleted' }).waitFor();
      // Not for screen readers either. The developer's panel keeps what came over the wire.
      const said = () => page.getByRole('main').getByText('A secret').count();
      await eventually(said, 0);
    }
    // What is gone cannot be changed any more.
    assert.equal(await ann.getByRole('button', { name: 'Message actions' }).count(), 1);
  });

  it('what the app says is a line of its own, that both can answer and nobody can change', async (t) => {
    const { ann, ben, annName, benName } = await pair(browser, t);
    await write(ann, benName, 'Shall we go?');
    await write(ann, benName, 'Anna has joined the trip.');
    await message(ben, 'Anna has joined the trip.').waitFor();
    await write(ben, annName, 'Of course');
    await message(ann, 'Of course').waitFor();
    await sql(`UPDATE bbgram.messages SET kind = 'system' WHERE text = 'Anna has joined the trip.'`);
    for (const page of [ann, ben]) {
      await page.reload();
      const line = message(page, 'Anna has joined the trip.');
      await line.waitFor();
      const [place, list] = [await line.locator('.bubble').boundingBox(), await page.locator('.messages').boundingBox()];
      assert.ok(Math.abs(place.x + place.width / 2 - list.x - list.width / 2) < 10, 'it is in the middle');
      // Neither side has said it, also for those who hear the page.
      assert.equal(await line.locator('.visually-hidden').filter({ hasText: ': ' }).count(), 0);
      assert.equal(await line.locator('.ticks').count(), 0);
      await line.hover();
      await line.getByRole('button', { name: 'Message actions' }).click();
      assert.equal(await menu(page).getByRole('button', { name: /Edit|Unsend|Report/ }).count(), 0);
      await menu(page).getByRole('button', { name: 'Reply', exact: true }).click();
      await page.getByText('Reply:').waitFor();
      assert.deepEqual(await accessibilityProblems(page), []);
    }
    await write(ben, annName, 'Great!');
    const quote = message(ann, 'Great!').getByRole('blockquote');
    assert.equal(await quote.innerText(), 'Anna has joined the trip.');
    await screenshots(ann, 'system');
  });

  it('a change that the server refuses is taken back, with the reason and the new text kept', async (t) => {
    const { ann, ben, benName } = await pair(browser, t);
    await write(ann, benName, 'Long ago');
    await message(ben, 'Long ago').waitFor();
    await untilState(ann, 'Long ago', 'delivered', 'read');
    await sql(`UPDATE bbgram.messages SET created_at = now() - interval '1 year' WHERE text = 'Long ago'`);
    await choose(ann, 'Long ago', 'Edit message');
    await composer(ann, benName).fill('Just now');
    await composer(ann, benName).press('Enter');
    await ann.getByRole('alert').filter({ hasText: 'Not changed.' }).waitFor();
    await message(ann, 'Long ago').waitFor();
    assert.equal(await composer(ann, benName).inputValue(), 'Just now');
    assert.deepEqual(await accessibilityProblems(ann), []);
    await button(ann, 'Dismiss').click();
    assert.equal(await ann.getByRole('alert').count(), 0);
    assert.equal(await message(ben, 'Just now').count(), 0);
  });

  it('keys alone are enough, and Escape leaves one thing at a time', async (t) => {
    const { ann, benName } = await pair(browser, t);
    await write(ann, benName, 'Typed');
    await untilState(ann, 'Typed', 'delivered', 'read');
    const more = message(ann, 'Typed').getByRole('button', { name: 'Message actions' });
    const focused = () => ann.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent);
    await composer(ann, benName).press('Shift+Tab');
    assert.equal(await focused(), 'Message actions');
    await ann.keyboard.press('Enter');
    await menu(ann).waitFor();
    assert.deepEqual(await accessibilityProblems(ann), []);
    await ann.keyboard.press('Escape');
    await menu(ann).waitFor({ state: 'detached' });
    assert.equal(await focused(), 'Message actions');

    await ann.keyboard.press('Enter');
    await menu(ann).getByRole('button', { name: 'Reply' }).focus();
    await ann.keyboard.press('Enter');
    await ann.getByText('Reply to yourself:').waitFor();
    assert.equal(await focused(), `Message to ${benName}`);
    await ann.keyboard.press('Escape');
    await ann.getByText('Reply to yourself:').waitFor({ state: 'detached' });
    await more.waitFor();
    await ann.keyboard.press('Escape');
    await more.waitFor({ state: 'detached' });
  });

  it('what changed while a person was away shows when they come back, in the list of chats too', async (t) => {
    const { ann, ben, annName, benName } = await pair(browser, t);
    await write(ann, benName, 'First');
    await write(ann, benName, 'Second');
    await message(ben, 'Second').waitFor();
    await untilState(ann, 'Second', 'delivered', 'read');
    await button(ben, 'Go offline').click();
    await choose(ann, 'First', 'React with 👍');
    await chip(ann, 'First', '👍').waitFor();
    await choose(ann, 'Second', 'Unsend…');
    await button(ann, 'Take it back').click();
    await eventually(() => sql(`SELECT text FROM bbgram.messages WHERE text = 'Second'`), '');
    assert.equal(await message(ben, 'Second').count(), 1);
    await button(ben, 'Go online').click();
    await chip(ben, 'First', '👍').waitFor();
    await message(ben, 'Message deleted').waitFor();
    await row(ben, annName).getByText('Message deleted').waitFor();
  });

  it('a message that has only data is shown by a line of its own, wherever its text would be', async (t) => {
    const { ann, ben, annName, benName } = await pair(browser, t);
    const line = 'Sent something that this page cannot show';
    await write(ben, annName, 'A photo from another app');
    await message(ann, 'A photo from another app').waitFor();
    await button(ann, 'Go offline').click();
    await sql(`UPDATE bbgram.messages SET text = '', data = '{"photo": 1}' WHERE text = 'A photo from another app'`);
    await ann.reload();
    await message(ann, line).waitFor();
    await row(ann, benName).getByText(line).waitFor();
    await choose(ann, line, 'Reply');
    await ann.getByText(`Reply to ${benName}: ${line}`).waitFor();
    assert.deepEqual(await accessibilityProblems(ann), []);
  });

  it('a chat is cleared for oneself once that is confirmed, in all tabs and for good', async (t) => {
    const { ann, ben, annName, benName } = await pair(browser, t);
    assert.equal(await button(ann, 'Clear chat').count(), 0);
    await write(ben, annName, 'An old story');
    await message(ann, 'An old story').waitFor();
    const tab = await anotherTab(ann, annName);
    await openChat(tab, benName);
    await message(tab, 'An old story').waitFor();

    await button(ann, 'Clear chat').click();
    const asked = ann.getByRole('dialog', { name: 'Clear this chat?' });
    await asked.getByText(`${benName} keeps them.`).waitFor();
    assert.deepEqual(await accessibilityProblems(ann), []);
    await ann.keyboard.press('Escape');
    await asked.waitFor({ state: 'detached' });
    await message(ann, 'An old story').waitFor();

    await button(ann, 'Clear chat').click();
    await button(asked, 'Clear').click();
    for (const page of [ann, tab]) {
      await page.getByText('No messages here.').waitFor();
      await row(page, benName).getByText('No messages', { exact: true }).waitFor();
      // Not for screen readers either.
      await eventually(() => page.getByRole('main').getByText('An old story').count(), 0);
    }
    await message(ben, 'An old story').waitFor();
    await write(ben, annName, 'A new one');
    await message(ann, 'A new one').waitFor();
    await ann.reload();
    await message(ann, 'A new one').waitFor();
    assert.equal(await message(ann, 'An old story').count(), 0);
  });

  it('the menu stays within a phone', async (t) => {
    const { ann, ben, annName } = await pair(browser, t, { viewport: PHONE, hasTouch: true, isMobile: true });
    await write(ben, annName, 'Small');
    await message(ann, 'Small').getByRole('button', { name: 'Message actions' }).tap();
    const box = await menu(ann).boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= PHONE.width && box.y >= 0 && box.y + box.height <= PHONE.height, JSON.stringify(box));
    await menu(ann).getByRole('button', { name: 'React with 👍' }).tap();
    await chip(ben, 'Small', '👍').waitFor();
  });
});
