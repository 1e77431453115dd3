// A Chromium from an npm package, and how people use the chat page in it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual, promisify } from 'node:util';

import axe from 'axe-core';
import { chromium } from 'playwright-core';

export const PAGE = process.env.BBGRAM_PAGE;
/** The same page, built for a deployment, and served from another origin. */
export const DEPLOYED_PAGE = process.env.BBGRAM_DEPLOYED_PAGE;
export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

/** Where the package unpacks the browser: with this checkout, for nobody else to write to. */
const UNPACKED = fileURLToPath(new URL('node_modules/.chromium', import.meta.url));
const SCREENSHOTS = process.env.BBGRAM_SCREENSHOTS;

/** What the browser calls an error, but is none of the page: a lost connection, and that it knows no push service. */
const NO_ERROR = /WebSocket|net::ERR|Push API in incognito mode/;

/** Starts the browser. It needs neither the packages of a distribution nor any rights; `CHROMIUM` is another one. */
export async function launch() {
  const args = ['--no-sandbox', '--font-render-hinting=none', "--headless='shell'"];
  // There is no graphics card: a process for one would only make each picture travel.
  args.push('--disable-gpu', '--in-process-gpu');
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? (await unpacked()), args });
}

async function unpacked() {
  mkdirSync(UNPACKED, { recursive: true });
  process.env.TMPDIR = UNPACKED;
  // With the libraries that a system may lack, which the package unpacks where it takes itself to be on Lambda.
  process.env.AWS_LAMBDA_JS_RUNTIME ??= 'nodejs22.x';
  process.env.FONTCONFIG_FILE = fonts();
  const { default: sparticuz } = await import('@sparticuz/chromium');
  return sparticuz.executablePath();
}

/** Every machine has other fonts, or none: these are the same everywhere. */
function fonts() {
  const dejavu = fileURLToPath(new URL('node_modules/dejavu-fonts-ttf/ttf', import.meta.url));
  const file = `${UNPACKED}/fonts.conf`;
  writeFileSync(
    file,
    `<fontconfig>
      <dir>${UNPACKED}/fonts</dir><dir>${dejavu}</dir><cachedir>${UNPACKED}/fonts-cache</cachedir>
      ${preferred('sans-serif', 'Open Sans', 'DejaVu Sans')}
      ${preferred('monospace', 'DejaVu Sans Mono')}
    </fontconfig>`,
  );
  return file;
}

const preferred = (kind, ...names) =>
  `<alias><family>${kind}</family><prefer>${names.map((name) => `<family>${name}</family>`).join('')}</prefer></alias>`;

/** Opens a window of its own: its storage is shared with no other. An error on the page fails the test. */
export async function newWindow(browser, t, { viewport = DESKTOP, ...options } = {}) {
  const context = await browser.newContext({ viewport, locale: 'en-GB', timezoneId: 'UTC', ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  context.on('weberror', (error) => errors.push(error.error()));
  // Also where the content security policy forbids something.
  context.on('console', (line) => line.type() === 'error' && !NO_ERROR.test(line.text()) && errors.push(line.text()));
  t.after(async () => {
    await context.close();
    assert.deepEqual(errors, []);
  });
  return context;
}

/** A tab in which errors are expected. */
export async function tabWithErrors(browser, t, script) {
  const context = await browser.newContext({ viewport: DESKTOP });
  t.after(() => context.close());
  if (script) await context.addInitScript(script);
  return context.newPage();
}

export async function newTab(context, url = PAGE) {
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/** Signs in a ready-made user with one click, in a window of their own. */
export async function as(name, browser, t, options) {
  const page = await newTab(await newWindow(browser, t, options));
  await page.getByRole('button', { name }).click();
  await page.getByRole('heading', { name: name.toLowerCase() }).waitFor();
  return page;
}

const PATIENCE_MS = 60_000;

/** Waits until what is seen is as expected. Pages, and the storage that tabs share, change in their own time. */
export async function eventually(see, expected) {
  for (const end = Date.now() + PATIENCE_MS; ; await setTimeout(50)) {
    const seen = await see();
    if (isDeepStrictEqual(seen, expected)) return;
    if (Date.now() > end) assert.deepEqual(seen, expected);
  }
}

let names = 0;

/** Signs up a new user without the form, which takes as long as what most tests are about. The page is in a window of its own. */
export async function someone(name, browser, t, options) {
  const session = await signedUp(name);
  const page = await (await newWindow(browser, t, options)).newPage();
  await page.addInitScript(keep, session);
  await page.goto(PAGE);
  await page.getByRole('heading', { name, exact: true }).waitFor();
  return page;
}

/** What the sign-in service of the stack answers to a form that is filled in, as text. */
async function signedUp(name) {
  const answer = await fetch(new URL('/auth/v1/signup', PAGE), {
    method: 'POST',
    body: JSON.stringify({ ...credentials(name), data: { username: name } }),
  });
  assert.ok(answer.ok, await answer.clone().text());
  return answer.text();
}

/** Has a tab keep a session, as after signing in, unless it has had one. Runs in the page. */
function keep(session) {
  if (sessionStorage.getItem('bbgram-tab')) return;
  sessionStorage.setItem('bbgram-tab', 'bbgram-session');
  sessionStorage.setItem('bbgram-session', session);
}

const credentials = (name) => ({ email: `${encodeURIComponent(name).toLowerCase()}@example.com`, password: 'correct horse' });

/** Signs up a new user with the form of a page. */
export const signUp = (page, name) => fillForm(page, name, 'Sign up');

/** Opens another tab of a page, and signs in the same user. */
export async function anotherTab(page, name) {
  const tab = await newTab(page.context());
  await fillForm(tab, name, 'Sign in');
  return tab;
}

async function fillForm(page, name, button) {
  const email = page.getByLabel('E-mail');
  const more = page.getByText('With an e-mail address');
  await more.or(email).first().waitFor();
  if (!(await email.isVisible())) await more.click();
  if (button === 'Sign up') {
    await page.getByRole('button', { name: 'I am new here' }).click();
    await page.getByLabel('Username').fill(name);
  }
  await email.fill(credentials(name).email);
  await page.getByLabel('Password').fill(credentials(name).password);
  await page.getByRole('button', { name: button }).click();
  await page.getByRole('heading', { name, exact: true }).waitFor();
}

/** Signs up new people who have written to nobody: their pages by name, such as `ann`, and what they are called, such as `annName`. */
export async function people(browser, t, { names = ['ann', 'ben'], ...options } = {}) {
  const called = names.map(unique);
  const pages = await Promise.all(called.map((name) => someone(name, browser, t, options)));
  return Object.fromEntries(names.flatMap((name, at) => [[name, pages[at]], [`${name}Name`, called[at]]]));
}

/** Two new people who have each other's chat open, in which there is nothing. */
export async function pair(browser, t, options) {
  const both = await people(browser, t, options);
  await openChat(both.ann, both.benName);
  await openChat(both.ben, both.annName);
  return both;
}

/** A name that no other test uses. */
export const unique = (name) => `${name}-${process.pid}-${++names}`;

export async function openChat(page, name) {
  await page.getByLabel('New chat: username').fill(name);
  await page.getByRole('button', { name: 'Start chat' }).click();
  await composer(page, name).waitFor();
}

export const composer = (page, name) => page.getByLabel(`Message to ${name}`);

export async function write(page, name, text) {
  await composer(page, name).fill(text);
  await composer(page, name).press('Enter');
}

/** The message with this text, in the open chat. */
export const message = (page, text) => page.locator('.message').filter({ has: page.getByText(text, { exact: true }) });

/** Waits until an own message has one of these states. */
export async function untilState(page, text, ...states) {
  await message(page, text)
    .and(page.locator(states.map((state) => `[data-state=${state}]`).join()))
    .waitFor();
}

/** The row of a chat in the list. */
export const row = (page, name) => page.getByRole('navigation').getByRole('link', { name });

/** Runs SQL in the database of the stack, for what takes people too long, or what they cannot do. */
export async function sql(statement) {
  const words = ['-qAtv', 'ON_ERROR_STOP=1', '-c', statement, process.env.BBGRAM_DATABASE_URL];
  return (await promisify(execFile)(process.env.BBGRAM_PSQL, words)).stdout;
}

/** Stores numbered messages of both in their chat, which ends before the first of them, as if they had been read. */
const storeMessages = (name, peer, first, last) =>
  sql(`
    WITH talk AS (
      UPDATE bbgram.chats SET last_seq = ${last}, numbered_after = ${last}, activity_at = now(), listed_at = now()
      WHERE user_lo IN ${idsOf(name, peer)} AND user_hi IN ${idsOf(name, peer)} AND user_lo <> user_hi
      RETURNING id, user_lo, user_hi
    ), seen AS (
      UPDATE bbgram.chat_members SET delivered_seq = ${last}, read_seq = ${last} FROM talk WHERE chat_id = talk.id
    )
    INSERT INTO bbgram.messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
    SELECT id, n, gen_random_uuid(), CASE n % 3 WHEN 0 THEN user_lo ELSE user_hi END,
      CASE n % 3 WHEN 0 THEN user_hi ELSE user_lo END, 'Message ' || n || repeat(' and more', n % 20),
      now() - (${last} - n) * interval '1 second'
    FROM talk, generate_series(${first}, ${last}) AS n`);

/** Further behind than this, a chat begins anew with its newest messages. */
const BEHIND = 500;

/**
 * Gives a page a chat, open and empty, with this many messages. It hears of them as after short times offline; as history
 * they would take ten times as many requests.
 */
export async function loadMessages(page, name, peer, count) {
  for (let last = 0; last < count; ) {
    const first = last + 1;
    last = Math.min(last + BEHIND, count);
    await page.getByRole('button', { name: 'Go offline' }).click();
    await storeMessages(name, peer, first, last);
    await page.getByRole('button', { name: 'Go online' }).click();
    await page.waitForFunction(jump, [await scroller(page), last, last]);
  }
  await scroller(page);
}

/** What a user has reported, as rows of text: which messages, why, and what they added. */
export const reportsOf = (name) =>
  sql(`SELECT messages->-1->>'text', reason, note FROM bbgram.reports WHERE reporter_id IN ${idsOf(name)} ORDER BY created_at`);

/** Deletes the chats of a user, without a word to anybody. */
export const deleteChats = (name) =>
  sql(`DELETE FROM bbgram.chats WHERE user_lo IN ${idsOf(name)} OR user_hi IN ${idsOf(name)}`);

/** Deletes users, as the app that they are users of. */
export const deleteUsers = (...names) => sql(`DELETE FROM bbgram.profiles WHERE id IN ${idsOf(...names)}`);

/** How many devices of a user are notified while they are away. */
export const devicesOf = async (name) => Number(await sql(`SELECT count(*) FROM bbgram.devices WHERE user_id IN ${idsOf(name)}`));

/** Gives a user another name. */
export const renameUser = (name, newName) =>
  sql(`SELECT bbgram.put_profile(id, '${newName}') FROM bbgram.profiles WHERE id IN ${idsOf(name)}`);

/** Says what a user is called, and where their picture is. */
export const describeUser = (name, displayName, avatarUrl) =>
  sql(`UPDATE bbgram.profiles SET display_name = '${displayName}', avatar_url = '${avatarUrl}' WHERE id IN ${idsOf(name)}`);

const idsOf = (...names) => `(SELECT id FROM bbgram.profiles WHERE username IN (${names.map((name) => `'${name}'`)}))`;

/** The list of messages, as it scrolls, once there are messages. */
export const scroller = (page) => page.locator('.messages [data-virtuoso-scroller]').elementHandle();

/**
 * Scrolls a list of numbered messages by some pixels, and returns where they are before and after that, by number, and how
 * far it could scroll. Runs in the page, in one go.
 */
export function scrollBy(list, pixels) {
  const places = () =>
    Object.fromEntries(
      [...list.querySelectorAll('.message')].map((one) => [
        one.querySelector('.text').textContent.split(' ')[1],
        one.getBoundingClientRect().bottom,
      ]),
    );
  const before = places();
  list.scrollTop += pixels;
  return { before, after: places(), isAtTop: list.scrollTop === 0 };
}

/** Scrolls a list of this many numbered messages to one of them. Returns whether it is there yet. Runs in the page. */
export function jump([list, number, count]) {
  list.scrollTop = ((number - 1) / count) * list.scrollHeight;
  const shown = [...list.querySelectorAll('.message .text')].map((one) => Number(one.textContent.split(' ')[1]));
  const isEnd = number === 1 || number === count;
  return isEnd ? shown.includes(number) : shown.some((one) => Math.abs(one - number) < count / 20);
}

/** Waits until the page has shown what it has to show: nothing changes in it for as many frames. */
export const settled = (page, frames = 2) =>
  page.evaluate(async (needed) => {
    let quiet = 0;
    const observer = new MutationObserver(() => (quiet = 0));
    observer.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
    while (quiet++ < needed) await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    observer.disconnect();
  }, frames);

/**
 * Has the page's service worker receive a push, as from a push service. Returns what it shows, and what a click on it does:
 * a browser without a screen shows no notifications.
 */
export async function push(page, notice) {
  const context = page.context();
  const started = context.waitForEvent('serviceworker');
  await page.evaluate(async () => {
    await navigator.serviceWorker.register('./sw.js');
    await navigator.serviceWorker.ready;
  });
  const worker = await started;
  await worker.evaluate(() => {
    self.shown = new Promise((resolve) => {
      self.registration.showNotification = async (...what) => resolve(what);
    });
  });
  const devtools = await context.newCDPSession(page);
  const registration = new Promise((resolve) => {
    devtools.on('ServiceWorker.workerRegistrationUpdated', ({ registrations: [one] }) => one && resolve(one.registrationId));
  });
  await devtools.send('ServiceWorker.enable');
  await devtools.send('ServiceWorker.deliverPushMessage', {
    origin: new URL(page.url()).origin,
    registrationId: await registration,
    data: JSON.stringify(notice),
  });
  const shown = await worker.evaluate(() => self.shown);
  return { shown, click: () => worker.evaluate((data) => show(linkOf(data)).catch(() => undefined), shown[1].data) };
}

/** What the content security policy of a page forbids when code in the page, given as text, tries something. */
export async function forbidden(browser, url, attempt) {
  const context = await browser.newContext();
  const page = await newTab(context, url);
  const violation = page.evaluate(
    () => new Promise((resolve) => addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective))),
  );
  await page.evaluate(attempt);
  const directive = await violation;
  await context.close();
  return directive;
}

/** Everything that axe finds serious. */
export async function accessibilityProblems(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => axe.run());
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

/** Takes pictures of the page, wide and narrow, light and dark, if they are asked for. */
export async function screenshots(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  const panel = page.getByRole('button', { name: 'Close the panel' });
  await page.mouse.move(0, 0);
  for (const size of [DESKTOP, PHONE]) {
    await page.setViewportSize(size);
    const covers = size === PHONE && (await panel.isVisible());
    // Not with the mouse, which a dialog keeps from everything else.
    if (covers) await panel.evaluate((button) => button.click());
    if (!(await page.locator('textarea:focus').count())) await page.evaluate(() => document.activeElement?.blur());
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${SCREENSHOTS}/${name}-${size.width}-${colorScheme}.png`, animations: 'disabled' });
    }
    await page.setViewportSize(DESKTOP);
    if (covers) await page.getByRole('button', { name: "Developer's panel" }).evaluate((button) => button.click());
  }
}
