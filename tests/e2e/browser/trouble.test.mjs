// What the chat page does when something is in its way.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import {
  DESKTOP,
  PAGE,
  composer,
  eventually,
  launch,
  newTab,
  newWindow,
  openChat,
  row,
  screenshots,
  settled,
  signUp,
  someone,
  tabWithErrors,
  unique,
  untilState,
  write,
} from './browser.mjs';

const SOCKET = /\/socket\.io\//;
/** The page as stacks serve it that listen on other addresses. Nothing listens there. */
const ELSEWHERE = process.env.BBGRAM_PAGES_ELSEWHERE.split(' ');

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const paneBottom = async (page) => {
  const { height, y } = await page.getByRole('navigation').boundingBox();
  assert.ok(height > DESKTOP.height / 2, `the list is ${height} pixels high`);
  return y + height;
};

const click = (page, name) => page.getByRole('button', { name }).click();
const status = (page, text) => page.getByRole('status').getByText(text).waitFor();

describe('the chat page in trouble', { concurrency: 2 }, () => {
  it('is as high as the window from the start, and offers nobody before it knows the chats', async (t) => {
    const name = unique('ann');
    const ann = await someone(name, browser, t);
    const suggestion = ann.getByRole('button', { name: 'Write to bob' });
    await suggestion.waitFor();
    const stalled = [];
    await ann.context().route(SOCKET, (route) => stalled.push(route));
    await ann.reload();
    await ann.getByRole('heading', { name }).waitFor();
    await settled(ann);
    assert.equal(await paneBottom(ann), DESKTOP.height);
    await status(ann, 'Connecting…');
    assert.equal(await paneBottom(ann), DESKTOP.height);
    assert.equal(await suggestion.count(), 0);
    await screenshots(ann, 'connecting');
    await ann.context().unroute(SOCKET);
    await Promise.all(stalled.map((route) => route.continue().catch(() => undefined)));
    await suggestion.waitFor();
  });

  it('asks who it is when the session has gone from the storage', async (t) => {
    // The server may answer 400 to a connection that is given up before it is made.
    const ann = await tabWithErrors(browser, t);
    await ann.goto(PAGE);
    await signUp(ann, unique('ann'));
    await ann.evaluate(() => sessionStorage.clear());
    await click(ann, 'Kill the connection');
    await ann.getByText('With an e-mail address').waitFor();
  });

  it('names the reason why there is no connection', async (t) => {
    const ann = await someone(unique('ann'), browser, t);
    await ann.context().route(SOCKET, (route) => route.abort());
    await click(ann, 'Kill the connection');
    await status(ann, 'The chat does not answer. What you write is sent when the connection is back.');
    await screenshots(ann, 'no-answer');

    const strict = await tabWithErrors(browser, t);
    await strict.route(PAGE, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, headers: { ...response.headers(), 'content-security-policy': "connect-src 'self'" } });
    });
    await strict.goto(PAGE);
    await signUp(strict, unique('ann'));
    await status(strict, 'The content security policy of this page forbids http://localhost:');
  });

  it('may connect to the chat wherever the local stack has it', async (t) => {
    assert.equal(ELSEWHERE.length, 2);
    for (const url of ELSEWHERE) {
      const page = await tabWithErrors(browser, t);
      await page.goto(url);
      const blocked = await page.evaluate(async () => {
        const { chatUrl } = await (await fetch('./dev/config.json')).json();
        const blocked = [];
        const isBlocked = new Promise((resolve) =>
          addEventListener('securitypolicyviolation', ({ blockedURI }) => {
            blocked.push(blockedURI);
            if (blockedURI === 'data') resolve();
          }),
        );
        await fetch(chatUrl).catch(() => undefined);
        await new Promise((resolve) => (new WebSocket(chatUrl.replace('http', 'ws')).onclose = resolve));
        await fetch('data:,').catch(() => isBlocked);
        return blocked;
      });
      assert.deepEqual(blocked, ['data'], url);
    }
  });

  it('works in a browser that keeps nothing', async (t) => {
    const context = await newWindow(browser, t);
    await context.addInitScript(() => {
      const refuse = () => {
        throw new DOMException('The operation is insecure.', 'SecurityError');
      };
      for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get: refuse });
      IDBFactory.prototype.open = refuse;
    });
    const benName = unique('ben');
    const ben = await someone(benName, browser, t);
    const name = unique('ann');
    const ann = await newTab(context);
    await signUp(ann, name);
    await openChat(ann, benName);
    await write(ann, benName, 'Keep nothing');
    await row(ben, name).getByText('Keep nothing').waitFor();
    await untilState(ann, 'Keep nothing', 'delivered');
    await composer(ann, benName).fill('A draft');
    await ann.keyboard.press('Escape');
    await row(ann, benName).click();
    await eventually(() => composer(ann, benName).inputValue(), 'A draft');
    await click(ann, 'Sign out');
    await ann.getByText('With an e-mail address').waitFor();
  });

  it('says in a line that it has failed, and can be loaded again', async (t) => {
    const page = await tabWithErrors(browser, t, () => delete Intl.Segmenter);
    await page.goto(PAGE);
    await page.getByRole('alert').getByText('The page has failed').waitFor();
    await screenshots(page, 'failed');
    await Promise.all([page.waitForEvent('load'), click(page, 'Reload')]);
  });

  it('forgets the drafts of a user who signs out', async (t) => {
    const [ben, name] = [unique('ben'), unique('ann')];
    await someone(ben, browser, t);
    const ann = await someone(name, browser, t);
    await openChat(ann, ben);
    await composer(ann, ben).fill('Not for the next one at this desk');
    const drafts = () => ann.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith('bbgram-draft:')).length);
    await eventually(drafts, 1);
    await click(ann, 'Sign out');
    await ann.getByText('With an e-mail address').waitFor();
    await eventually(drafts, 0);
  });
});
