// The edge refuses the second handshake; the client tries again by itself, with nothing set up for it.
import assert from 'node:assert/strict';
import { closeAll, connect, once, url } from './client.mjs';

const { token } = JSON.parse(process.env.BBGRAM_ALICE);

await once(connect(url, { auth: { token } }), 'connect');
const second = connect(url, { auth: { token } });
const error = await once(second, 'connect_error');
assert.equal(error.data, undefined);
assert.equal(second.active, true);
await once(second, 'connect');
closeAll();
