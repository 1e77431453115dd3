import 'fake-indexeddb/auto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ChatError, indexedDBStorage, type Message } from '../../src/index.js';
import type { Draft } from '../../src/drafts.js';
import { Outbox } from '../../src/outbox.js';
import { webLocks } from '../locks.js';
import { message } from './messages.js';

const RUNS = 40;
const STEPS = 60;
const TABS = 3;

beforeAll(() => void vi.stubGlobal('navigator', { locks: webLocks() }));
afterAll(() => void vi.unstubAllGlobals());

const moment = (ms = 0): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function generator(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

interface Tab {
  outbox: Outbox;
  isReady: boolean;
}

/** A browser with some tabs, the server that they send to, and what must become of each message. */
class Browser {
  readonly stored = new Map<string, Message>();
  readonly sends: string[] = [];
  readonly tabs: Tab[] = [];
  /** What has to be stored in the end. */
  readonly wanted = new Set<string>();
  readonly discarded = new Set<string>();
  readonly retried = new Set<string>();
  /** Every tab knows that these are discarded. */
  readonly buried = new Set<string>();
  readonly wrong: string[] = [];
  /** Whether the server answers well from now on. */
  isCalm = false;
  clears = 0;
  readonly #userId: string;

  constructor(
    seed: number,
    private readonly random: () => number,
  ) {
    this.#userId = `user-${seed}`;
  }

  async open(): Promise<void> {
    const tab: Tab = { isReady: this.random() < 0.5, outbox: undefined! };
    tab.outbox = new Outbox(indexedDBStorage(this.#userId), {
      isReady: () => tab.isReady,
      send: (draft) => this.#send(draft),
      changed: () => {},
      isHere: () => false,
      stored: ({ clientId }) => tab.outbox.remove(clientId!),
    });
    this.tabs.push(tab);
    await tab.outbox.identified(this.#userId);
  }

  add({ outbox }: Tab): void {
    this.wanted.add(outbox.add(this.#pick(['bob', 'carol']), 'text').clientId);
  }

  discard({ outbox }: Tab): void {
    const draft = this.#pick(outbox.drafts);
    if (!draft) return;
    outbox.discard(draft.clientId);
    if (outbox.drafts.includes(draft)) return;
    this.wanted.delete(draft.clientId);
    this.discarded.add(draft.clientId);
  }

  retry({ outbox }: Tab): void {
    const draft = this.#pick(outbox.drafts.filter(({ isFailed }) => isFailed));
    if (!draft) return;
    outbox.retry(draft.clientId);
    this.retried.add(draft.clientId);
  }

  switch(tab: Tab): void {
    tab.isReady = !tab.isReady;
    if (tab.isReady) tab.outbox.resume();
  }

  /** The browser throws away what it has kept. */
  async clear(): Promise<void> {
    this.clears++;
    await new Promise((resolve) => (indexedDB.deleteDatabase(this.#userId).onsuccess = resolve));
  }

  async reload(tab: Tab): Promise<void> {
    tab.isReady = false;
    await tab.outbox.close();
    this.tabs.splice(this.tabs.indexOf(tab), 1);
    const kept = JSON.stringify(await indexedDBStorage(this.#userId).list(''));
    for (const { clientId } of tab.outbox.drafts) {
      const isElsewhere = this.tabs.some(({ outbox }) => outbox.drafts.some((draft) => draft.clientId === clientId));
      // Only this tab had it, and the storage was thrown away: nobody can know of it.
      if (!isElsewhere && !kept.includes(clientId)) this.wanted.delete(clientId);
    }
    await this.open();
  }

  /** Let every tab read what the others have written, and write what that leads to. */
  async settle(): Promise<void> {
    const clears = this.clears;
    for (let round = 0; round < 3; round++) {
      await Promise.all(this.tabs.map(({ outbox }) => outbox.identified(this.#userId)));
      await moment(1);
    }
    const pending = new Set(this.tabs.flatMap(({ outbox }) => outbox.drafts.map(({ clientId }) => clientId)));
    for (const clientId of this.discarded) {
      if (!pending.has(clientId)) this.buried.add(clientId);
      else if (!clears && !this.retried.has(clientId)) this.wrong.push('a discarded message is still here');
    }
  }

  async end(): Promise<void> {
    this.isCalm = true;
    await this.settle();
    for (const tab of this.tabs) tab.isReady = true;
    for (let round = 0; this.tabs.some(({ outbox }) => outbox.drafts.length); round++) {
      if (round > 2_000) return void this.wrong.push('messages wait for ever');
      for (const tab of this.tabs) {
        while (tab.outbox.drafts.some(({ isFailed }) => isFailed)) this.retry(tab);
        tab.outbox.wake();
        tab.outbox.resume();
      }
      await moment(5);
    }
    for (const clientId of this.wanted) if (!this.stored.has(clientId)) this.wrong.push('a message is lost');
    await Promise.all(this.tabs.map(({ outbox }) => outbox.close()));
  }

  async step(): Promise<void> {
    const [chance, tab] = [this.random(), this.#pick(this.tabs)];
    if (chance < 0.3) this.add(tab);
    else if (chance < 0.42) this.discard(tab);
    else if (chance < 0.5) this.retry(tab);
    else if (chance < 0.65) this.switch(tab);
    else if (chance < 0.7) await this.reload(tab);
    else if (chance < 0.75) await this.settle();
    else if (chance < 0.8 && this.mayClear) await this.clear();
    else await moment(this.random() * 30);
    for (const { outbox } of this.tabs) outbox.wake();
  }

  mayClear = true;

  async #send({ clientId, text }: Draft): Promise<Message> {
    this.sends.push(clientId);
    if (this.buried.has(clientId)) this.wrong.push('a discarded message is sent');
    await moment(this.random() * 3);
    const chance = this.isCalm ? 1 : this.random();
    if (chance < 0.15) throw new ChatError('busy');
    if (chance < 0.3) throw new ChatError('user_not_found');
    const known = this.stored.get(clientId) ?? message(this.stored.size + 1, { clientId, text, senderId: this.#userId });
    this.stored.set(clientId, known);
    if (chance < 0.4) throw new ChatError('timeout');
    return known;
  }

  #pick<T>(all: readonly T[]): T {
    return all[Math.floor(this.random() * all.length)]!;
  }
}

async function run(seed: number, prepare: (browser: Browser) => void): Promise<Browser> {
  const browser = new Browser(seed, generator(seed));
  prepare(browser);
  for (let tab = 0; tab < TABS; tab++) await browser.open();
  for (let step = 0; step < STEPS; step++) await browser.step();
  await browser.end();
  return browser;
}

const seeds = (from: number): number[] => Array.from({ length: RUNS }, (_, place) => from + place);

test('whatever tabs do, and a browser throws away, no message is lost and none that all have discarded is sent', { timeout: 120_000 }, async () => {
  const browsers = await Promise.all(seeds(1).map((seed) => run(seed, () => {})));
  expect(browsers.flatMap(({ wrong }, place) => wrong.map((what) => `${place + 1}: ${what}`))).toEqual([]);
  // That it was tried at all.
  expect(browsers.filter(({ clears, stored, buried }) => clears && stored.size > 5 && buried.size).length).toBeGreaterThan(RUNS / 2);
});

test('while the storage lasts and the server answers, tabs send each message once', { timeout: 120_000 }, async () => {
  const browsers = await Promise.all(
    seeds(1_000).map((seed) => run(seed, (browser) => Object.assign(browser, { mayClear: false, isCalm: true }))),
  );
  expect(browsers.flatMap(({ wrong }) => wrong)).toEqual([]);
  for (const { sends } of browsers) expect(new Set(sends).size).toBe(sends.length);
});
