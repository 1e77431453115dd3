// All tests of the chat page, in one process and one browser: `node all.mjs`. `node --test chat.test.mjs` runs one file of them.

import { readdirSync } from 'node:fs';

for (const file of readdirSync(import.meta.dirname)) if (file.endsWith('.test.mjs')) await import(`./${file}`);
