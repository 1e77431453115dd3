// How people keep their peace in the chat page: requests, blocks, settings, and chats that are pinned, muted or archived.

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
  people,
  reportsOf,
  row,
  screenshots,
  someone,
  sql,
  unique,
  untilState,
  write,
} from './browser.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const button = (page, name) => page.getByRole('button', { name, exact: true });
const menu = (page) => page.getByRole('dialog', { name: 'Chat actions' });
const messageMenu = (page) => page.getByRole('dialog', { name: 'Message actions' });
const report = (page) => page.getByRole('dialog', { name: 'Report this message' });
const settings = (page) => page.getByRole('dialog', { name: 'Settings' });
const requests = (page) => page.getByRole('button', { name: /^Message requests/ });
const bar = (page, name) => page.getByRole('region', { name, exact: true });
const rows = (page) => page.getByRole('navigation').locator('.chat-row__name').allInnerTexts();

/** Two people who have written to each other, with the chat open. */
async function friends(t, options) {
  const both = await pair(browser, t, options);
  const { ann, ben, annName, benName } = both;
  await write(ann, benName, 'Hello');
  await message(ben, 'Hello').waitFor();
  await write(ben, annName, 'Hi');
  await message(ann, 'Hi').waitFor();
  return both;
}

async function set(page, change) {
  await button(page, 'Settings').click();
  await change(settings(page));
  await button(page, 'Close').click();
  await settings(page).waitFor({ state: 'detached' });
}

async function choose(page, action) {
  await button(page, 'Chat actions').click();
  await menu(page).getByRole('button', { name: action }).click();
}

async function askToReport(page, text) {
  await message(page, text).hover();
  await message(page, text).getByRole('button', { name: 'Message actions' }).click();
  await messageMenu(page).getByRole('button', { name: 'Report…' }).click();
}

const isInside = ({ x, y, width, height }) => x >= 0 && y >= 0 && x + width <= PHONE.width && y + height <= PHONE.height;
const onlyRequests = (dialog) => dialog.getByLabel('New people who may write to me').selectOption('Everyone, as a message request');
const focused = (page) => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent);

describe('peace in the chat page', { concurrency: 2 }, () => {
  it('a stranger waits among the requests, hears nothing, and is accepted', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    await set(ann, onlyRequests);
    await openChat(ben, annName);
    await write(ben, annName, 'We met on the train');
    await requests(ann).getByText('Message requests (1)').waitFor();
    assert.deepEqual(await rows(ann), []);
    await screenshots(ann, 'requests-row');
    await requests(ann).click();
    await row(ann, benName).click();
    await message(ann, 'We met on the train').waitFor();
    await bar(ann, 'Message request').getByText(`${benName} wants to write to you`).waitFor();
    assert.equal(await composer(ann, benName).count(), 0);
    // There is no answer before it is accepted.
    await button(ann, 'Message actions').click();
    assert.deepEqual(await messageMenu(ann).getByRole('button').allInnerTexts(), ['Report…']);
    await ann.keyboard.press('Escape');
    assert.deepEqual(await accessibilityProblems(ann), []);
    await screenshots(ann, 'request');
    await untilState(ben, 'We met on the train', 'sent');
    assert.equal(await ben.getByText('online', { exact: true }).count(), 0);

    await button(ann, 'Accept').click();
    await composer(ann, benName).waitFor();
    await untilState(ben, 'We met on the train', 'read');
    await ann.getByText('There are no message requests.').waitFor();
    await button(ann, 'Back to all chats').click();
    await row(ann, benName).waitFor();
    assert.equal(await requests(ann).count(), 0);
    await write(ann, benName, 'I remember');
    await message(ben, 'I remember').waitFor();
  });

  it('a request that is declined is gone on every device, and its sender cannot write any more', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    const other = await anotherTab(ann, annName);
    await set(ann, onlyRequests);
    await openChat(ben, annName);
    await write(ben, annName, 'Buy my watches');
    for (const page of [ann, other]) await requests(page).waitFor();
    await requests(ann).click();
    await row(ann, benName).click();
    const address = ann.url();
    await button(ann, 'Decline').click();
    await ann.getByText('Choose a chat, or start one.').waitFor();
    await ann.getByText('There are no message requests.').waitFor();
    await requests(other).waitFor({ state: 'detached' });
    await write(ben, annName, 'Cheap');
    await message(ben, 'Cheap').getByText('Not sent.').waitFor();

    // Who has kept the address finds it again.
    await ann.goto(address);
    await ann.reload();
    await bar(ann, 'Message request').getByText('You declined this request.').waitFor();
    await button(ann, 'Accept').click();
    await row(ann, benName).waitFor();
    await row(other, benName).waitFor();
  });

  it('somebody is blocked from the menu, and neither can write until that is taken back in the settings', async (t) => {
    const { ann, ben, annName, benName } = await friends(t);
    await choose(ann, 'Block…');
    await button(ann, 'Cancel').click();
    await composer(ann, benName).waitFor();
    await choose(ann, 'Block…');
    await ann.getByRole('dialog', { name: `Block ${benName}?` }).getByRole('button', { name: 'Block' }).click();
    await bar(ann, 'Blocked').getByText(`You blocked ${benName}.`).waitFor();
    assert.equal(await composer(ann, benName).count(), 0);
    assert.deepEqual(await accessibilityProblems(ann), []);
    await screenshots(ann, 'blocked');
    await write(ben, annName, 'Are you there?');
    await message(ben, 'Are you there?').getByText('Not sent.').waitFor();
    assert.equal(await bar(ben, 'Blocked').count(), 0);

    await button(ann, 'Close the panel').click();
    await button(ann, 'Settings').click();
    await settings(ann).getByText(benName).waitFor();
    assert.deepEqual(await accessibilityProblems(ann), []);
    await screenshots(ann, 'settings');
    await button(ann, `Unblock ${benName}`).click();
    await settings(ann).getByText('You have blocked nobody.').waitFor();
    await button(ann, 'Close').click();
    await composer(ann, benName).waitFor();
    await write(ann, benName, 'Sorry');
    await message(ben, 'Sorry').waitFor();

    await choose(ann, 'Block…');
    await button(ann, 'Block').click();
    await bar(ann, 'Blocked').getByRole('button', { name: 'Unblock' }).click();
    await composer(ann, benName).waitFor();
  });

  it('a request is blocked, and is none any more', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    await set(ann, onlyRequests);
    await openChat(ben, annName);
    await write(ben, annName, 'Hello there');
    await requests(ann).click();
    await row(ann, benName).click();
    await button(ann, 'Block').click();
    await bar(ann, 'Blocked').waitFor();
    await ann.getByText('There are no message requests.').waitFor();
    await bar(ann, 'Blocked').getByRole('button', { name: 'Unblock' }).click();
    await bar(ann, 'Message request').getByText('You declined this request.').waitFor();
  });

  it('chats are pinned, muted and archived, on every device', async (t) => {
    const { ann, ben, annName, benName } = await friends(t);
    const catName = unique('cat');
    await someone(catName, browser, t);
    await openChat(ann, catName);
    await write(ann, catName, 'Later');
    await untilState(ann, 'Later', 'delivered', 'sent');
    await eventually(() => rows(ann), [catName, benName]);
    const other = await anotherTab(ann, annName);
    await eventually(() => rows(other), [catName, benName]);

    await button(ann, 'Close the panel').click();
    await row(ann, benName).click();
    await composer(ann, benName).waitFor();
    await choose(ann, 'Pin to the top');
    for (const page of [ann, other]) {
      await eventually(() => rows(page), [benName, catName]);
      await row(page, benName).getByText(', pinned').waitFor();
    }
    await choose(ann, 'Mute for 8 hours');
    for (const page of [ann, other]) await row(page, benName).getByText(', muted').waitFor();
    await button(ann, 'Chat actions').click();
    await menu(ann).getByRole('button', { name: /Unmute \(muted until / }).waitFor();
    assert.deepEqual(await accessibilityProblems(ann), []);
    await screenshots(ann, 'chat-menu');
    await ann.keyboard.press('Escape');
    await menu(ann).waitFor({ state: 'detached' });

    await button(other, 'Go offline').click();
    await choose(ann, 'Archive');
    await eventually(() => rows(ann), [catName]);
    await ann.getByRole('button', { name: 'Archived (1)' }).waitFor();
    await button(other, 'Go online').click();
    await eventually(() => rows(other), [catName]);
    await write(ben, annName, 'Are you asleep?');
    await message(ann, 'Are you asleep?').waitFor();
    await eventually(() => rows(other), [catName]);

    await other.getByRole('button', { name: 'Archived (1)' }).click();
    await row(other, benName).click();
    assert.deepEqual(await accessibilityProblems(other), []);
    await screenshots(other, 'archived');
    await choose(other, 'Move to the inbox');
    await other.getByText('Nothing is archived.').waitFor();
    await eventually(() => rows(ann), [benName, catName]);
    await choose(ann, 'Unmute');
    await eventually(() => row(other, benName).getByText(', muted').count(), 0);
  });

  it('a chat is found by its address in the archive, too', async (t) => {
    const { ann, benName } = await friends(t);
    await choose(ann, 'Archive');
    await ann.getByRole('button', { name: 'Archived (1)' }).waitFor();
    await ann.reload();
    await composer(ann, benName).waitFor();
    await message(ann, 'Hello').waitFor();
  });

  it('a message is reported with a reason and a note, and its sender is not told', async (t) => {
    const { ann, ben, annName, benName } = await friends(t);
    await message(ann, 'Hello').hover();
    await message(ann, 'Hello').getByRole('button', { name: 'Message actions' }).click();
    assert.equal(await messageMenu(ann).getByRole('button', { name: 'Report…' }).count(), 0);
    await ann.keyboard.press('Escape');

    await write(ben, annName, 'Send me 500 euros, I am in trouble. I will pay it back tomorrow, I promise!');
    const text = 'Send me 500 euros, I am in trouble. I will pay it back tomorrow, I promise!';
    await askToReport(ann, text);
    await report(ann).getByText(text).waitFor();
    assert.deepEqual(await accessibilityProblems(ann), []);
    // Nothing is reported without a reason.
    await report(ann).getByRole('button', { name: 'Report', exact: true }).click();
    assert.equal(await report(ann).locator(':invalid[name=reason]').count() > 0, true);
    await report(ann).getByLabel('Spam or fraud').check();
    await report(ann).getByLabel('Anything to add?').fill('  The third one today. ');
    await screenshots(ann, 'report');
    await report(ann).getByRole('button', { name: 'Report', exact: true }).click();
    await ann.locator('[aria-live]').getByText('Reported to the people who run this chat.').waitFor();
    assert.equal(await report(ann).count(), 0);
    assert.equal(await reportsOf(annName), `${text}|spam|The third one today.\n`);
    assert.deepEqual(await accessibilityProblems(ann), []);
    await screenshots(ann, 'reported');
    await button(ann, 'Dismiss').click();
    await eventually(() => button(ann, 'Dismiss').count(), 0);
    await composer(ann, benName).waitFor();
    assert.equal(await ben.getByText(/report/i).count(), 0);
  });

  it('a report that the server refuses says why', async (t) => {
    const { ann, ben, annName } = await friends(t);
    await write(ben, annName, 'Something nasty');
    await askToReport(ann, 'Something nasty');
    await button(ben, 'Go offline').click();
    await report(ann).getByLabel('Insults or harassment').check();
    // As if it was taken back in the moment of the report.
    await sql(`UPDATE bbgram.messages SET text = '', deleted_at = now() WHERE text = 'Something nasty'`);
    await report(ann).getByRole('button', { name: 'Report', exact: true }).click();
    await ann.getByRole('alert').getByText('Not reported. The message has been unsent.').waitFor();
    assert.equal(await reportsOf(annName), '');
    await button(ann, 'Dismiss').click();
    assert.equal(await ann.getByRole('alert').count(), 0);
  });

  it('what is taken back while it is reported is not shown there any more', async (t) => {
    const { ann, ben, annName } = await friends(t);
    await write(ben, annName, 'A slip of the tongue');
    await askToReport(ann, 'A slip of the tongue');
    await message(ben, 'A slip of the tongue').hover();
    await message(ben, 'A slip of the tongue').getByRole('button', { name: 'Message actions' }).click();
    await messageMenu(ben).getByRole('button', { name: 'Unsend…' }).click();
    await button(ben, 'Take it back').click();
    await report(ann).getByText('Message deleted').waitFor();
    assert.equal(await report(ann).getByText('A slip of the tongue').count(), 0);
  });

  it('a stranger is reported and blocked in one go, and their request is gone', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    await set(ann, onlyRequests);
    await openChat(ben, annName);
    await write(ben, annName, 'Buy my watches');
    await requests(ann).click();
    await row(ann, benName).click();
    await askToReport(ann, 'Buy my watches');
    await report(ann).getByLabel('Spam or fraud').check();
    await report(ann).getByRole('button', { name: 'Report and block' }).click();
    await ann.getByText('Reported to the people who run this chat.').waitFor();
    await bar(ann, 'Blocked').getByText(`You blocked ${benName}.`).waitFor();
    await ann.getByText('There are no message requests.').waitFor();
    assert.equal(await reportsOf(annName), 'Buy my watches|spam|\n');
    await write(ben, annName, 'Are you there?');
    await message(ben, 'Are you there?').getByText('Not sent.').waitFor();
    // Who is blocked already cannot be blocked again.
    await askToReport(ann, 'Buy my watches');
    await report(ann).getByRole('button', { name: 'Report', exact: true }).waitFor();
    assert.equal(await report(ann).getByRole('button', { name: 'Report and block' }).count(), 0);
  });

  it('settings hold on every device, and others notice', async (t) => {
    const { ann, ben, annName, benName } = await friends(t);
    const other = await anotherTab(ann, annName);
    await ben.reload();
    await row(ben, annName).getByText(', online').waitFor();
    await button(other, 'Settings').click();
    await set(ann, async (dialog) => {
      await dialog.getByLabel('Others see when I have read their messages').uncheck();
      await dialog.getByLabel('Who sees whether I am online').selectOption('Nobody');
    });
    await settings(other).locator('input:not(:checked)').first().waitFor();
    await eventually(() => settings(other).getByLabel('Who sees whether I am online').inputValue(), 'nobody');
    assert.equal(await settings(other).getByLabel('Notifications show what messages say').isChecked(), true);
    await eventually(() => row(ben, annName).getByText(', online').count(), 0);
    await write(ben, annName, 'Have you read this?');
    await message(ann, 'Have you read this?').waitFor();
    await write(ann, benName, 'Yes');
    await message(ben, 'Yes').waitFor();
    await ben.reload();
    await untilState(ben, 'Have you read this?', 'delivered');
  });

  it('keys alone are enough, and the focus goes on where it was', async (t) => {
    const { ann, benName } = await friends(t);
    await button(ann, 'Settings').focus();
    await ann.keyboard.press('Enter');
    // Where a click puts the focus, or not, Escape closes the dialog and not the chat.
    await settings(ann).getByText('Blocked people').click();
    await settings(ann).getByText('You have blocked nobody.').click();
    await ann.keyboard.press('Escape');
    await settings(ann).waitFor({ state: 'detached' });
    assert.equal(await focused(ann), 'Settings');
    await composer(ann, benName).waitFor();

    await button(message(ann, 'Hi'), 'Message actions').focus();
    await ann.keyboard.press('Enter');
    await messageMenu(ann).getByRole('button', { name: 'Report…' }).focus();
    await ann.keyboard.press('Enter');
    await report(ann).waitFor();
    await ann.keyboard.press('Escape');
    await report(ann).waitFor({ state: 'detached' });
    assert.equal(await focused(ann), 'Message actions');
    await ann.keyboard.press('Enter');
    await messageMenu(ann).getByRole('button', { name: 'Report…' }).focus();
    await ann.keyboard.press('Enter');
    await report(ann).waitFor();
    await ann.keyboard.press('Tab');
    await ann.keyboard.press('Space');
    assert.equal(await report(ann).getByLabel('Spam or fraud').isChecked(), true);
    await ann.keyboard.press('ArrowDown');
    assert.equal(await report(ann).getByLabel('Insults or harassment').isChecked(), true);
    await ann.keyboard.press('Enter');
    await ann.locator('[aria-live]').getByText('Reported').waitFor();
    assert.equal(await focused(ann), 'Message actions');
    await composer(ann, benName).waitFor();

    await button(ann, 'Chat actions').focus();
    await ann.keyboard.press('Enter');
    await menu(ann).waitFor();
    await ann.keyboard.press('Escape');
    await menu(ann).waitFor({ state: 'detached' });
    assert.equal(await focused(ann), 'Chat actions');
    await ann.keyboard.press('Enter');
    await menu(ann).getByRole('button', { name: 'Archive' }).focus();
    await ann.keyboard.press('Enter');

    const archived = ann.getByRole('button', { name: 'Archived (1)' });
    await archived.focus();
    await ann.keyboard.press('Enter');
    await row(ann, benName).waitFor();
    assert.equal(await focused(ann), 'Archived');
    await button(ann, 'Back to all chats').focus();
    await ann.keyboard.press('Enter');
    await archived.waitFor();
    assert.match(await focused(ann), /Archived \(1\)/);
  });

  it('on a phone, everything stays within the screen', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t, { viewport: PHONE, hasTouch: true, isMobile: true });
    await button(ann, 'Settings').tap();
    await settings(ann).getByLabel('New people who may write to me').selectOption('Everyone, as a message request');
    assert.ok(isInside(await settings(ann).boundingBox()));
    await button(ann, 'Close').tap();
    await openChat(ben, annName);
    await write(ben, annName, 'Hello');
    await requests(ann).tap();
    await row(ann, benName).tap();
    for (const name of ['Accept', 'Decline', 'Block']) assert.ok(isInside(await button(ann, name).boundingBox()), name);
    await button(ann, 'Message actions').tap();
    await messageMenu(ann).getByRole('button', { name: 'Report…' }).tap();
    assert.ok(isInside(await report(ann).boundingBox()));
    for (const name of ['Report', 'Report and block']) assert.ok(isInside(await button(report(ann), name).boundingBox()), name);
    await button(report(ann), 'Close').tap();
    await button(ann, 'Accept').tap();
    await button(ann, 'Chat actions').tap();
    assert.ok(isInside(await menu(ann).boundingBox()));
    await menu(ann).getByRole('button', { name: 'Mute always' }).tap();
    await button(ann, 'Chat actions').tap();
    await menu(ann).getByRole('button', { name: 'Unmute (muted always)' }).waitFor();
  });
});
