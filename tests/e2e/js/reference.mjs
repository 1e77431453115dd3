// Runs scenarios, all at once. Prints the outcome of each as JSON: null, or why it failed.
//
// BBGRAM_URL         where the edge is
// BBGRAM_TRANSPORTS  JSON list; the client's default when not set
// BBGRAM_PEOPLE      JSON: for each scenario to run, users nobody else knows, and a token that has ended:
//                    {alice, bob: {username, userId, token}, expired}
import { closeAll } from './client.mjs';

const outcomes = {};

process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

function fail(error) {
  console.error(error.stack ?? error);
  process.exit(1);
}

async function run(name, scenario) {
  try {
    await scenario();
    outcomes[name] = null;
  } catch (error) {
    outcomes[name] = String(error.stack ?? error);
  }
}

const running = [];
for (const [name, { alice, bob, expired }] of Object.entries(JSON.parse(process.env.BBGRAM_PEOPLE))) {
  process.env.BBGRAM_ALICE = JSON.stringify(alice);
  process.env.BBGRAM_BOB = JSON.stringify(bob);
  // Each scenario has the module for itself, with its own users.
  const scenarios = await import(`./scenarios.mjs?${name}`);
  running.push([name, () => scenarios[name]({ expired })]);
}
await Promise.all(running.map(([name, scenario]) => run(name, scenario)));
closeAll();
console.log(JSON.stringify(outcomes));
