import assert from 'node:assert/strict';
import { test } from 'node:test';

import { runnerImport } from 'vite';

const { isFewEmoji } = (await runnerImport('/src/conversation/emoji.ts')).module;

test('one to three emoji of any kind are few emoji', () => {
  for (const text of ['👍', '👍🏽', '❤️', '1️⃣', '🇩🇪', '👩‍👩‍👧', '🏴󠁧󠁢󠁥󠁮󠁧󠁿', '👍❤️🇩🇪']) assert.ok(isFewEmoji(text), text);
});

test('anything else is not', () => {
  for (const text of ['', '1', '#', 'Hi', 'Hi 👍', '👍 👍', '👍👍👍👍', '🇩', 'é', '日本']) assert.ok(!isFewEmoji(text), text);
});
