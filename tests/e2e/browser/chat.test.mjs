// What people do with the chat page, in a real browser.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import {
  DEPLOYED_PAGE,
  PAGE,
  PHONE,
  accessibilityProblems,
  anotherTab,
  as,
  composer,
  deleteChats,
  eventually,
  forbidden,
  jump,
  launch,
  loadMessages,
  message,
  newTab,
  newWindow,
  openChat,
  people,
  push,
  row,
  screenshots,
  scrollBy,
  scroller,
  settled,
  signUp,
  someone,
  unique,
  untilState,
  write,
} from './browser.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** More messages than fit into a window, and what is rendered around it. */
const FEW = 60;

/** Collects the messages of a list that are rendered, or change, from now on. Runs in the page. */
function watchRows(list) {
  const rows = new Set();
  new MutationObserver((changes) => {
    for (const { target, addedNodes } of changes) {
      const own = (target.nodeType === Node.TEXT_NODE ? target.parentElement : target).closest('.message');
      for (const found of own ? [own] : addedNodes) {
        const added = found.matches?.('.message') ? [found] : (found.querySelectorAll?.('.message') ?? []);
        for (const one of added) rows.add(one);
      }
    }
  }).observe(list, { subtree: true, childList: true, attributes: true, characterData: true });
  return rows;
}

/**
 * How far a message may be from where it was, in pixels: less than two of the lowest. The list guesses how high older messages
 * are until it has shown them. Without its care they would be a page away.
 */
const TOLERANCE = 60;

/** Fails if messages that are still in the list are not where they were, or if none are. */
function assertNoJump(known, now) {
  const still = Object.keys(known).filter((number) => number in now);
  assert.ok(still.length > 0, `of the messages ${Object.keys(known)} none are left, but ${Object.keys(now)}`);
  for (const number of still) {
    const moved = Math.abs(known[number] - now[number]);
    assert.ok(moved <= TOLERANCE, `message ${number} jumped from ${known[number]} to ${now[number]}`);
  }
}

/** Fails unless messages, from the top of the list to its end, are without a gap and in order. */
function assertInOrder(places) {
  const numbers = Object.keys(places).map(Number);
  const sorted = numbers.toSorted((a, b) => places[a] - places[b]);
  assert.deepEqual(
    sorted,
    numbers.map((_, index) => numbers[0] + index),
  );
}

/** What the page is called. */
const NAME = 'BB-Gram chat';
const SOCKET = /\/socket\.io\//;
/** What a client of Engine.IO sends first over a websocket that has taken the place of polling. */
const UPGRADED = '5';

/** Waits until the page says how many messages are unread in all. */
async function unreadInAll(page, count) {
  await eventually(() => page.title(), count ? `(${count}) ${NAME}` : NAME);
  const badge = page.getByRole('navigation').getByText(/^\S+ unread messages$/);
  await eventually(() => badge.allTextContents(), count ? [`${count} unread messages`] : []);
}

const trick = (page, name) => page.getByRole('button', { name }).click();

describe('the chat page', { concurrency: 3 }, () => {
  it('two ready-made users chat: unread, typing, ticks', async (t) => {
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

  it('a message written offline waits, and is sent when the connection is back', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    await openChat(ann, benName);
    await trick(ann, 'Go offline');
    await ann.getByRole('status').getByText('You are offline').waitFor();
    await write(ann, benName, 'Written in a tunnel');
    await untilState(ann, 'Written in a tunnel', 'pending');
    await trick(ann, 'Go online');
    await untilState(ann, 'Written in a tunnel', 'delivered');
    await row(ben, annName).getByText('Written in a tunnel').waitFor();
    await eventually(() => ann.getByRole('status').innerText(), '');
  });

  it('a killed connection comes back by itself', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    await openChat(ann, benName);
    await trick(ann, 'Kill the connection');
    await write(ann, benName, 'Did you notice?');
    await row(ben, annName).getByText('Did you notice?').waitFor();
  });

  it('a pending message survives a reload, and arrives once', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
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

  it('a second tab of the same user stays in step, and nothing is sent twice', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    const second = await anotherTab(ann, annName);
    for (const tab of [ann, second]) await openChat(tab, benName);
    await openChat(ben, annName);
    await write(ann, benName, 'Seen in both tabs');
    await message(second, 'Seen in both tabs').waitFor();
    await write(ben, annName, 'An answer');
    for (const tab of [ann, second]) await message(tab, 'An answer').waitFor();

    for (const tab of [ann, second]) await trick(tab, 'Go offline');
    await write(ann, benName, 'Written offline');
    for (const tab of [ann, second]) await trick(tab, 'Go online');
    for (const tab of [ann, second]) await untilState(tab, 'Written offline', 'read');
    await write(ben, annName, 'The last word');
    for (const page of [ann, second, ben]) {
      await message(page, 'The last word').waitFor();
      for (const text of ['Seen in both tabs', 'An answer', 'Written offline'])
        assert.equal(await message(page, text).count(), 1);
    }
  });

  it('on a phone there is the list, or the chat, and nothing is wider than the screen', async (t) => {
    const { ann, benName } = await people(browser, t, { viewport: PHONE, isMobile: true, hasTouch: true });
    const overflow = () => ann.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    await eventually(overflow, 0);
    await openChat(ann, benName);
    await write(ann, benName, 'W'.repeat(400));
    await untilState(ann, 'W'.repeat(400), 'delivered');
    await eventually(overflow, 0);
    await eventually(() => ann.getByRole('navigation').isVisible(), false);
    await ann.getByRole('button', { name: 'Back to the list of chats' }).click();
    await row(ann, benName).waitFor();
    await eventually(() => composer(ann, benName).isVisible(), false);
  });

  it('what looks like HTML is text, and only safe addresses are links', async (t) => {
    const { ann, benName } = await people(browser, t);
    await openChat(ann, benName);
    await write(
      ann,
      benName,
      '<img src=x onerror="document.title=1"><b>bold</b> javascript:alert(1) (see https://example.com/a?b=c).',
    );
    const sent = ann.locator('.message');
    await sent.getByText('<b>bold</b>').waitFor();
    assert.equal(await sent.locator('img, b').count(), 0);
    const link = sent.getByRole('link');
    assert.equal(await link.count(), 1);
    assert.equal(await link.getAttribute('href'), 'https://example.com/a?b=c');
    assert.match(await link.getAttribute('rel'), /noopener/);
    await write(ann, benName, 'مرحبا بالعالم');
    assert.equal(
      await message(ann, 'مرحبا بالعالم')
        .locator('.text')
        .evaluate((text) => getComputedStyle(text).direction),
      'rtl',
    );
  });

  it('a message that is refused can be changed or deleted', async (t) => {
    const { ann, benName } = await people(browser, t);
    await openChat(ann, benName);
    const long = 'x'.repeat(70_000);
    await write(ann, benName, long);
    const failed = ann.locator('.message[data-state=failed]');
    await failed.waitFor();
    await composer(ann, benName).fill('The next one');
    assert.equal(await failed.getByRole('button', { name: 'Try again' }).count(), 0);
    await failed.getByRole('button', { name: 'Edit' }).click();
    await failed.waitFor({ state: 'detached' });
    await composer(ann, benName).and(ann.locator(':focus')).waitFor();
    await eventually(() => composer(ann, benName).inputValue(), `${long}\nThe next one`);

    await composer(ann, benName).press('Enter');
    await failed.getByRole('button', { name: 'Delete' }).click();
    await failed.waitFor({ state: 'detached' });
    await eventually(() => composer(ann, benName).inputValue(), '');
  });

  it('each chat keeps its draft across a reload', async (t) => {
    const { ann, annName, benName } = await people(browser, t);
    await openChat(ann, benName);
    await composer(ann, benName).fill('Half a thought');
    await ann.reload();
    await composer(ann, benName).waitFor();
    await eventually(() => composer(ann, benName).inputValue(), 'Half a thought');
    await openChat(ann, annName);
    await eventually(() => composer(ann, annName).inputValue(), '');
  });

  it('a hundred messages at once arrive in order, and older ones load without a jump', async (t) => {
    const { ann, benName } = await people(browser, t);
    await openChat(ann, benName);
    await trick(ann, 'Send 100');
    await untilState(ann, 'Message 100 of 100', 'delivered');
    await ann.reload();
    await message(ann, 'Message 100 of 100').waitFor();
    assert.ok((await ann.locator('.message').count()) < 60, 'only what is visible is in the page');

    const history = await scroller(ann);
    // A page may load at any time. Whenever it does, what was there stays where the last step has left it.
    let known = (await history.evaluate(scrollBy, 0)).after;
    assert.ok(!('1' in known));
    for (let steps = 0; !('1' in known); steps++) {
      assert.ok(steps < 200, 'the beginning is never reached');
      await settled(ann);
      const { before, after, isAtTop } = await history.evaluate(scrollBy, -300);
      assertNoJump(known, before);
      assertInOrder(before);
      known = after;
      if (isAtTop) await ann.waitForFunction((list) => list.scrollTop > 0 || list.textContent.includes('Message 1 of'), history);
    }
  });

  it('ten thousand messages cost the page no more than those that are visible', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    await openChat(ann, benName);
    await loadMessages(ann, annName, benName, 10_000);
    const history = await scroller(ann);
    for (const number of [10_000, 5_000, 1, 10_000]) {
      await ann.waitForFunction(jump, [history, number, 10_000]);
      await settled(ann, 30);
      const { after } = await history.evaluate(scrollBy, 0);
      assertInOrder(after);
      assert.ok(Object.keys(after).length < FEW, `${Object.keys(after).length} messages are in the page`);
      assert.ok((await ann.evaluate(() => document.querySelectorAll('*').length)) < 1_000);
    }

    // A row that is not in the page is not rendered either, so what changes in the page is what a message costs.
    const atTheEnd = await history.evaluateHandle(watchRows);
    await openChat(ben, annName);
    await write(ben, annName, 'One more');
    await message(ann, 'One more').waitFor();
    assert.ok((await atTheEnd.evaluate((rows) => rows.size)) < 5);

    await ann.waitForFunction(jump, [history, 1, 10_000]);
    await settled(ann, 30);
    const atTheBeginning = await history.evaluateHandle(watchRows);
    await write(ben, annName, 'And another');
    await row(ann, benName).getByText('And another').waitFor();
    await settled(ann);
    assert.equal(await atTheBeginning.evaluate((rows) => rows.size), 0);
  });

  it('the page answers a token that is about to expire with a new one', async (t) => {
    const ann = await someone(unique('ann'), browser, t);
    const wire = ann.getByRole('complementary');
    const live = wire.getByText('live', { exact: true });
    await live.waitFor();
    await trick(ann, 'Token about to expire');
    const refreshes = wire.getByText(/^refresh_token ack/);
    await wire.getByText(/^error .*token_expired/).waitFor();
    await refreshes.nth(1).waitFor();
    await live.waitFor();
  });

  it('the title and the list say how much is unread in all, in every tab', async (t) => {
    const { ann, ben, cat, annName, benName, catName } = await people(browser, t, { names: ['ann', 'ben', 'cat'] });
    assert.equal(await ann.title(), NAME);
    await openChat(ben, annName);
    await openChat(cat, annName);
    for (const text of ['One', 'Two']) await write(ben, annName, text);
    await write(cat, annName, 'Three');
    await unreadInAll(ann, 3);
    assert.deepEqual(await accessibilityProblems(ann), []);
    await screenshots(ann, 'unread');
    const tab = await anotherTab(ann, annName);
    await unreadInAll(tab, 3);

    await row(ann, benName).click();
    for (const page of [ann, tab]) await unreadInAll(page, 1);
    // What comes into the open chat is read at once.
    await write(ben, annName, 'Four');
    await untilState(ben, 'Four', 'read');
    for (const page of [ann, tab]) await unreadInAll(page, 1);
    await write(cat, annName, 'Five');
    for (const page of [ann, tab]) await unreadInAll(page, 2);

    await row(tab, catName).click();
    for (const page of [ann, tab]) await unreadInAll(page, 0);
    await write(ben, annName, 'Six');
    await trick(ann, 'Go offline');
    await ann.keyboard.press('Escape');
    await write(ben, annName, 'Seven');
    await trick(ann, 'Sign out');
    await ann.getByRole('button', { name: 'Alice' }).waitFor();
    assert.equal(await ann.title(), NAME);
  });

  it('more than 99 unread messages are 99+', async (t) => {
    const context = await newWindow(browser, t);
    const upgraded = new Promise((resolve) =>
      context.routeWebSocket(SOCKET, (socket) => {
        const server = socket.connectToServer();
        server.onMessage((text) => socket.send(text));
        socket.onMessage((text) => {
          server.send(text);
          if (text === UPGRADED) resolve(socket);
        });
      }),
    );
    const ann = await newTab(context);
    await signUp(ann, unique('ann'));
    const socket = await upgraded;
    // What the server says itself, after the connect, is not to come in between.
    await ann.getByRole('complementary').getByText(/^unread_changed /).waitFor();
    for (const [total, shown] of [[99, '99'], [100, '99+'], [1, '1']]) {
      socket.send(`42${JSON.stringify(['unread_changed', { total, chats: 1 }])}`);
      await unreadInAll(ann, shown);
    }
  });

  it('axe finds nothing serious, in the light and in the dark', async (t) => {
    for (const colorScheme of ['light', 'dark']) {
      const { ann, ben, annName, benName } = await people(browser, t, { colorScheme });
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

  it('the keyboard is enough', async (t) => {
    const { ann, benName } = await people(browser, t);
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

  it('a push becomes a notification that opens the chat', async (t) => {
    const ann = await someone(unique('ann'), browser, t);
    const notice = { id: 'a notice', title: 'Ben', body: 'Are you there?', senders: ['Ben'], chatIds: ['an-id'] };
    const { shown, click } = await push(ann, notice);
    assert.deepEqual([shown[0], shown[1].body, shown[1].tag], ['Ben', 'Are you there?', 'a notice']);
    await click();
    await ann.waitForURL(/#\/an-id$/);
  });

  it('who asks for notifications hears in one line why there are none', async (t) => {
    const ann = await someone(unique('ann'), browser, t);
    const bell = ann.getByRole('button', { name: 'Notify me while I am away' });
    await bell.waitFor();
    // The browser of the tests lets pages notify if it is told to, but knows no push service.
    await ann.context().grantPermissions(['notifications']);
    await bell.click();
    await ann.getByRole('alert').getByText('This browser cannot be notified: Registration failed').waitFor();
    assert.ok(await bell.isVisible(), 'the user can try again');
    assert.deepEqual(await accessibilityProblems(ann), []);
  });

  it('a user who has not allowed notifications is not asked again', async (t) => {
    // To allow something else only is to refuse this.
    const ann = await someone(unique('ann'), browser, t, { permissions: ['geolocation'] });
    assert.equal(await ann.evaluate(async () => (await navigator.permissions.query({ name: 'notifications' })).state), 'denied');
    await settled(ann);
    assert.equal(await ann.getByRole('button', { name: 'Notify me while I am away' }).count(), 0);
  });

  it('a page loads and connects to nothing that its content security policy does not name', async () => {
    for (const url of [PAGE, DEPLOYED_PAGE]) {
      assert.equal(await forbidden(browser, url, "void fetch('https://example.com').catch(() => undefined)"), 'connect-src');
      assert.equal(await forbidden(browser, url, "document.body.append(Object.assign(new Image(), { src: 'http://example.com/x.png' }))"), 'img-src');
      const script = "document.body.append(Object.assign(document.createElement('script'), { text: 'alert(1)' }))";
      assert.equal(await forbidden(browser, url, script), 'script-src-elem');
    }
  });

  it('a chat that is deleted while it is open says so, and comes back with a new message', async (t) => {
    const { ann, ben, annName, benName } = await people(browser, t);
    await openChat(ann, benName);
    await write(ann, benName, 'A secret');
    await openChat(ben, annName);
    await message(ben, 'A secret').waitFor();
    await untilState(ann, 'A secret', 'read');
    await deleteChats(annName);
    await trick(ann, 'Kill the connection');
    await ann.getByRole('alert').getByText('This chat has been deleted.').waitFor();
    await eventually(() => row(ann, benName).count(), 0);
    await write(ben, annName, 'Are you there?');
    await message(ann, 'Are you there?').waitFor();
    assert.equal(await message(ann, 'A secret').count(), 0);

    await deleteChats(annName);
    await trick(ann, 'Kill the connection');
    await ann.getByRole('button', { name: 'Back to the list of chats' }).click();
    await ann.getByText('Choose a chat').waitFor();
  });

  it('a page that is built for a deployment has one session in all tabs', async (t) => {
    const [name, benName] = [unique('ann'), unique('ben')];
    const ann = await newTab(await newWindow(browser, t), DEPLOYED_PAGE);
    await signUp(ann, name);
    const ben = await someone(benName, browser, t);
    assert.equal(await ann.getByRole('complementary').count(), 0);
    const second = await newTab(ann.context(), DEPLOYED_PAGE);
    await second.getByRole('heading', { name, exact: true }).waitFor();
    await openChat(second, benName);
    await write(second, benName, 'From another origin');
    await row(ben, name).getByText('From another origin').waitFor();
    await second.getByRole('button', { name: 'Sign out' }).click();
    await ann.getByRole('button', { name: 'Sign in' }).waitFor();
  });

  it('looks like this', async (t) => {
    const names = ['Emma', 'Noah', 'Sofia', 'Liam', 'مريم'];
    const [emma, noah, sofia, liam, maryam] = await Promise.all(names.map((name) => someone(name, browser, t)));
    await openChat(maryam, 'Emma');
    await write(maryam, 'Emma', 'صباح الخير! هل وصلت الصور؟');
    await openChat(emma, 'Liam');
    await write(emma, 'Liam', 'See you on Monday');
    await openChat(sofia, 'Emma');
    for (const text of ['Are you coming to the rehearsal?', 'We start at seven']) await write(sofia, 'Emma', text);
    await openChat(emma, 'Noah');
    await openChat(noah, 'Emma');
    for (const [from, to, text] of [
      [emma, 'Noah', 'Hi Noah! Did the new release go out?'],
      [noah, 'Emma', 'An hour ago. The queue was empty all the time.'],
      [noah, 'Emma', 'Here is what has changed:\nhttps://example.com/releases/2.4'],
      [emma, 'Noah', 'Great. I was in a tunnel for ten minutes, and everything was there when I came out.'],
      [noah, 'Emma', 'That is what it is for.'],
      [emma, 'Noah', 'Lunch at half past twelve?'],
    ]) {
      await write(from, to, text);
      await (from === emma ? noah : emma).getByRole('region').getByText(text.split('\n')[0]).waitFor();
    }
    await untilState(emma, 'Lunch at half past twelve?', 'read');
    await liam.context().close();
    const typing = setInterval(
      () =>
        composer(noah, 'Emma')
          .press('x')
          .catch(() => undefined),
      1_000,
    );
    t.after(() => clearInterval(typing));
    await emma.getByRole('main').getByText('typing…').waitFor();
    await screenshots(emma, 'chat');
    await emma.getByRole('button', { name: 'Go offline' }).click();
    await emma.getByRole('main').getByText('typing…').waitFor({ state: 'hidden' });
    await write(emma, 'Noah', 'Or one o’clock?');
    await screenshots(emma, 'offline');
    await emma.keyboard.press('Escape');
    await screenshots(emma, 'list');
    await screenshots(await newTab(await newWindow(browser, t)), 'sign-in');
  });
});
