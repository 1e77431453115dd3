import { expect, test } from 'vitest';
import type { ServerConnection } from '../../src/connection.js';
import { ChatError, type Settings } from '../../src/index.js';
import { Optimistic } from '../../src/optimistic.js';
import { OwnSettings } from '../../src/settings.js';

const none = (): void => {};
const usual: Settings = { messagesFrom: 'everyone', readReceipts: true, showPresence: 'chats', pushTexts: true };

/** A question, and how it is answered. */
function asking<T>() {
  let [answer, refuse]: [(value: T) => void, (error: unknown) => void] = [none, none];
  const asked = new Promise<T>((resolve, reject) => ([answer, refuse] = [resolve, reject]));
  return { ask: () => asked, answer, refuse };
}

test('a change is shown while it is asked for, and the state of the server once it is refused', async () => {
  const state = new Optimistic({ pinned: false, box: 'inbox' });
  const { ask, refuse } = asking<object>();
  const done = state.attempt(() => ({ pinned: true }), ask, none);
  expect(state.shown).toEqual({ pinned: true, box: 'inbox' });
  expect(state.shown).toBe(state.shown);
  state.take({ box: 'archived' });
  expect(state.shown).toEqual({ pinned: true, box: 'archived' });
  refuse(new ChatError('not_allowed'));
  await expect(done).rejects.toMatchObject({ code: 'not_allowed' });
  expect(state.shown).toEqual({ pinned: false, box: 'archived' });
});

test('of several changes, each ends by itself', async () => {
  const state = new Optimistic({ pinned: false, muted: false });
  const [first, second] = [asking<object>(), asking<object>()];
  const pinning = state.attempt(() => ({ pinned: true }), first.ask, none);
  const muting = state.attempt(() => ({ muted: true }), second.ask, none);
  first.refuse(new ChatError('not_allowed'));
  await expect(pinning).rejects.toThrow();
  expect(state.shown).toEqual({ pinned: false, muted: true });
  second.answer({ muted: true });
  await muting;
  expect(state.shown).toEqual(state.server);
  expect(state.shown).toEqual({ pinned: false, muted: true });
});

test('settings are asked for when the app wants them, and then at each connect', async () => {
  const asked: string[] = [];
  const connection = {
    call: async (event: string, changes: object) => {
      asked.push(event);
      return { settings: { ...usual, ...changes } };
    },
  };
  const settings = new OwnSettings(connection as unknown as ServerConnection, none);
  settings.refresh();
  expect(asked).toEqual([]);
  expect(settings.snapshot).toBeUndefined();
  await Promise.all([settings.load(), settings.load()]);
  expect(asked).toEqual(['get_settings']);
  expect(settings.snapshot).toEqual(usual);
  settings.refresh();
  expect(asked).toHaveLength(2);
  settings.take({ ...usual, pushTexts: false });
  expect(settings.snapshot!.pushTexts).toBe(false);
  const updating = settings.update({ pushTexts: true, messagesFrom: 'nobody' });
  expect(settings.snapshot).toEqual({ ...usual, messagesFrom: 'nobody' });
  await updating;
  expect(settings.snapshot).toEqual({ ...usual, messagesFrom: 'nobody' });
});
