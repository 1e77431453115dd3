// What the chat page does when users are renamed or deleted, and when two of them share a browser.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import {
  PAGE,
  accessibilityProblems,
  anotherTab,
  composer,
  deleteUsers,
  describeUser,
  devicesOf,
  eventually,
  launch,
  message,
  newTab,
  openChat,
  people,
  push,
  renameUser,
  row,
  screenshots,
  signUp,
  someone,
  tabWithErrors,
  unique,
  untilState,
  write,
} from './browser.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const SOCKET = /\/socket\.io\//;
const CHAT_ID = /#\/[0-9a-f-]{36}$/;

describe('people in the chat page', { concurrency: 2 }, () => {
  it('users are shown with their name and picture, and with the first letter of the name if there is no picture', async (t) => {
    const { ann, benName, catName } = await people(browser, t, { names: ['ann', 'ben', 'cat'] });
    const PICTURE = { contentType: 'image/svg+xml', body: '<svg xmlns="http://www.w3.org/2000/svg"><rect width="99" height="99" fill="teal"/></svg>' };
    const asked = [];
    await ann.context().route('https://pictures.example/**', (route) => {
      asked.push(route.request());
      return route.request().url().endsWith('ben.svg') ? route.fulfill(PICTURE) : route.abort();
    });
    await describeUser(benName, 'Benedict Ångström', 'https://pictures.example/ben.svg');
    await describeUser(catName, 'Çat', 'https://pictures.example/none.svg');
    for (const [username, name] of [
      [catName, 'Çat'],
      [benName, 'Benedict Ångström'],
    ]) {
      await ann.getByLabel('New chat: username').fill(username);
      await ann.getByRole('button', { name: 'Start chat' }).click();
      await write(ann, name, `Hello ${name}`);
      await message(ann, `Hello ${name}`).waitFor();
    }
    await ann.getByRole('heading', { name: 'Benedict Ångström' }).waitFor();
    const isShown = (images) => images.map(({ naturalWidth, parentNode }) => naturalWidth > 0 && parentNode.textContent === '');
    for (const avatar of [row(ann, 'Benedict Ångström').locator('.avatar'), ann.locator('main .bar .avatar')]) {
      await eventually(() => avatar.locator('img').evaluateAll(isShown), [true]);
    }
    const none = row(ann, 'Çat').locator('.avatar');
    await eventually(() => none.locator('img').count(), 0);
    assert.equal(await none.textContent(), 'Ç');
    assert.ok(asked.length >= 2);
    for (const request of asked) assert.equal(await request.headerValue('referer'), null);
    assert.deepEqual(await accessibilityProblems(ann), []);
    await screenshots(ann, 'names-and-pictures');
  });

  it('chats with two deleted users are read each by itself, and nothing can be written in them', async (t) => {
    const { ann, ben, cat, annName, benName, catName } = await people(browser, t, { names: ['ann', 'ben', 'cat'] });
    for (const [page, text] of [
      [ben, 'From the one'],
      [cat, 'From the other'],
    ]) {
      await openChat(page, annName);
      await write(page, annName, text);
      await untilState(page, text, 'delivered');
      await page.context().close();
    }
    await deleteUsers(benName, catName);
    await ann.reload();
    const rows = row(ann, 'Deleted user');
    for (const text of ['From the one', 'From the other']) {
      const one = rows.filter({ hasText: text });
      await one.getByText('1 unread').waitFor();
      await one.click();
      await message(ann, text).waitFor();
      await one.getByText('1 unread').waitFor({ state: 'detached' });
      assert.equal(await ann.locator('[aria-current]').count(), 1);
      await one.and(ann.locator('[aria-current]')).waitFor();
      await ann.getByText('This user has been deleted. Nobody can write to them.').waitFor();
      assert.equal(await composer(ann, 'Deleted user').count(), 0);
    }
    assert.deepEqual(await accessibilityProblems(ann), []);
    await ann.reload();
    await message(ann, 'From the other').waitFor();
    assert.equal(await message(ann, 'From the one').count(), 0);
  });

  it('a chat stays open, with its draft, when the other user is renamed', async (t) => {
    const { ann, ben, benName } = await people(browser, t);
    await openChat(ann, benName);
    await write(ann, benName, 'Who are you?');
    await untilState(ann, 'Who are you?', 'delivered');
    await composer(ann, benName).fill('Half a thought');
    await ben.context().close();
    const newName = unique('bernard');
    await renameUser(benName, newName);
    await ann.reload();
    await message(ann, 'Who are you?').waitFor();
    await eventually(() => composer(ann, newName).inputValue(), 'Half a thought');
    await composer(ann, newName).press('Enter');
    await untilState(ann, 'Half a thought', 'sent');
  });

  it('an address with a name, as the page used them, becomes that of the chat', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    await openChat(ben, annName);
    await write(ben, annName, 'By name');
    await untilState(ben, 'By name', 'delivered');
    await ann.evaluate((name) => {
      const session = Object.values(sessionStorage).find((value) => value.includes('access_token'));
      localStorage.setItem(`bbgram-draft:${JSON.parse(session).user.id}:${name}`, 'Kept under the name');
    }, benName);
    await ann.goto(`${PAGE}#${benName}`);
    await message(ann, 'By name').waitFor();
    await ann.waitForURL(CHAT_ID);
    await eventually(() => composer(ann, benName).inputValue(), 'Kept under the name');
    await row(ann, benName).and(ann.locator('[aria-current]')).waitFor();
    await ann.goBack();
    await ann.getByText('Choose a chat').waitFor();
  });

  it('an address of a chat that does not exist says so', async (t) => {
    const ann = await someone(unique('ann'), browser, t);
    await ann.goto(`${PAGE}#/01a209cf-d79e-719c-ba78-97bf693d6acc`);
    await ann.getByRole('alert').getByText('This chat has been deleted.').waitFor();
  });

  it('a push opens the chat that it is about, whatever the other user is called', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    await openChat(ben, annName);
    await write(ben, annName, 'Are you there?');
    await untilState(ben, 'Are you there?', 'delivered');
    await ben.waitForURL(CHAT_ID);
    const chatId = new URL(ben.url()).hash.slice(2);
    await deleteUsers(benName);
    const { click } = await push(ann, { id: 'a notice', title: 'Ben', senders: ['Deleted user'], chatIds: [chatId] });
    await click();
    await message(ann, 'Are you there?').waitFor();
  });

  it('of two users in two tabs, the one who stays is notified when the other signs out', async (t) => {
    const { ann, ben: bensWindow, annName, benName } = await people(browser, t);
    await bensWindow.context().close();
    await ann.context().addInitScript(standInForPushService);
    await ann.context().grantPermissions(['notifications']);
    await ann.reload();
    const registered = (page) => page.getByRole('complementary').getByText(/^register_device ack .*"success":true/);
    await registered(ann).waitFor();
    const ben = await anotherTab(ann, benName);
    await registered(ben).waitFor();
    const [annId, benId] = [await userId(ann), await userId(ben)];
    await eventually(() => devices(ben), [annId, benId].sort());

    await ann.getByRole('button', { name: 'Sign out' }).click();
    await ann.getByRole('button', { name: 'Alice' }).waitFor();
    await registered(ben).nth(1).waitFor();
    await eventually(() => devices(ben), [benId]);
    assert.ok(await subscription(ben));

    await ben.getByRole('button', { name: 'Sign out' }).click();
    await ben.getByRole('button', { name: 'Alice' }).waitFor();
    await eventually(() => devices(ben), []);
    await eventually(() => subscription(ben), null);
  });

  it('a user who signs out while their browser is being registered is not notified afterwards', async (t) => {
    // The server may answer 400 to a connection that is given up before it is made.
    const ann = await tabWithErrors(browser, t, standInForPushService);
    const name = unique('ann');
    await ann.routeWebSocket(SOCKET, (socket) => socket.close());
    const answered = new Promise((resolve) =>
      ann.route(SOCKET, async (route) => {
        const response = await route.fetch();
        if ((await response.text()).includes('"deviceId"')) await new Promise((release) => resolve(release));
        await route.fulfill({ response }).catch(() => undefined);
      }),
    );
    await ann.goto(PAGE);
    await signUp(ann, name);
    await ann.context().grantPermissions(['notifications']);
    const release = await answered;
    await ann.getByRole('button', { name: 'Sign out' }).click();
    release();
    await ann.getByRole('button', { name: 'Alice' }).waitFor();
    await eventually(() => devicesOf(name), 0);
    await eventually(() => devices(ann), []);
    await ann.unrouteAll({ behavior: 'ignoreErrors' });
  });

  it('who stays is notified when a user signs out whose registration is not answered', async (t) => {
    const ben = await tabWithErrors(browser, t, standInForPushService);
    await ben.context().grantPermissions(['notifications']);
    await ben.goto(PAGE);
    const benName = unique('ben');
    await signUp(ben, benName);
    await eventually(() => devicesOf(benName), 1);
    const before = await subscription(ben);
    const other = await newTab(ben.context());
    await other.evaluate(() => (PushManager.prototype.getSubscription = () => new Promise(() => undefined)));
    await signUp(other, unique('ann'));
    await other.getByRole('button', { name: 'Go offline' }).click();
    await other.evaluate(() => {
      const subscribed = { unsubscribe: async () => localStorage.removeItem('subscription') };
      PushManager.prototype.getSubscription = async () => subscribed;
    });
    await other.getByRole('button', { name: 'Sign out' }).click();
    await other.getByRole('button', { name: 'Alice' }).waitFor();
    const isAnother = async () => ![null, before].includes(await subscription(ben));
    await eventually(isAnother, true);
  });
});

const userId = (page) =>
  page.evaluate(() => JSON.parse(Object.values(sessionStorage).find((value) => value.includes('access_token'))).user.id);

/** The users who are notified in the browser of a page. */
const devices = (page) =>
  page.evaluate(() => {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith('bbgram-device:'));
    return keys.map((key) => key.split(':')[1]).sort();
  });

const subscription = (page) => page.evaluate(() => localStorage.getItem('subscription'));

/** The browser of the tests knows no push service: this gives all tabs one subscription, as a browser has. Runs in the page. */
function standInForPushService() {
  const bytes = (length) => btoa('x'.repeat(length)).replace(/=/g, '');
  const subscription = (applicationServerKey) => ({
    options: { applicationServerKey },
    toJSON: () => ({ endpoint: localStorage.getItem('subscription'), keys: { p256dh: localStorage.getItem('p256dh'), auth: bytes(16) } }),
    unsubscribe: async () => localStorage.removeItem('subscription'),
  });
  let key;
  PushManager.prototype.getSubscription = async () => (localStorage.getItem('subscription') ? subscription(key) : null);
  PushManager.prototype.subscribe = async ({ applicationServerKey }) => {
    key = applicationServerKey.buffer;
    const pair = await crypto.subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, ['deriveBits']);
    const raw = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
    localStorage.setItem('p256dh', btoa(String.fromCharCode(...raw)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, ''));
    localStorage.setItem('subscription', `https://push.example.com/${crypto.randomUUID()}`);
    return subscription(key);
  };
}
