// Runs one scenario: `node reference.mjs NAME`. Exits with 1 and says why when it fails.
//
// BBGRAM_URL         where the edge is
// BBGRAM_TRANSPORTS  JSON list; the client's default when not set
// BBGRAM_ALICE, BBGRAM_BOB  two users nobody else knows: {username, userId, token}
// BBGRAM_EXPIRED_TOKEN      a token that has ended
import { closeAll } from './client.mjs';
import * as scenarios from './scenarios.mjs';

const name = process.argv[2];

process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

function fail(error) {
  console.error(`${name} failed: ${error.stack ?? error}`);
  process.exit(1);
}

if (!Object.hasOwn(scenarios, name)) fail(`no such scenario; there are ${Object.keys(scenarios).join(', ')}`);
await scenarios[name]();
closeAll();
