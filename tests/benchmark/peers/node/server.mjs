// Stands for the usual chat on Node: one process, Socket.IO and a pool of Postgres connections, as their
// documentation shows it. Every message is one INSERT that commits on its own. Whoever connects is believed.
import { createServer } from 'node:http';
import pg from 'pg';
import { Server } from 'socket.io';

const CREATE = `
  CREATE TABLE IF NOT EXISTS messages (
    id bigserial PRIMARY KEY,
    sender text NOT NULL,
    recipient text NOT NULL,
    text text NOT NULL,
    client_id text,
    created_at timestamptz NOT NULL DEFAULT now()
  )`;
// A statement with a name is prepared once for each connection.
const INSERT = {
  name: 'insert_message',
  text: `INSERT INTO messages (sender, recipient, text, client_id) VALUES ($1, $2, $3, $4)
    RETURNING id, created_at`,
};

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: Number(process.env.POOL ?? 10),
});
// Without a listener, an idle connection that breaks would end the process.
pool.on('error', (error) => console.error(error.message));
await pool.query(CREATE);

const socketsOf = new Map(); // from a username to the Set of its sockets
let delivered = 0;

async function store(sender, { username: recipient, text, clientId }) {
  const { rows } = await pool.query({ ...INSERT, values: [sender, recipient, text, clientId] });
  return {
    id: rows[0].id,
    senderId: sender,
    senderUsername: sender,
    recipientId: recipient,
    recipientUsername: recipient,
    text,
    createdAt: rows[0].created_at.toISOString(),
    status: 'sent',
    clientId,
  };
}

async function sendMessage(sender, payload, ack) {
  let message;
  try {
    message = await store(sender, payload);
  } catch (error) {
    ack({ success: false, error: error.message, code: 'internal', retryable: true });
    return;
  }
  ack({ success: true, message });
  for (const socket of socketsOf.get(sender) ?? []) socket.emit('message_sent', message);
  for (const socket of socketsOf.get(message.recipientUsername) ?? []) {
    socket.emit('new_message', message, () => {
      delivered += 1;
    });
  }
}

const httpServer = createServer();
const io = new Server(httpServer);

io.on('connection', (socket) => {
  const { username } = socket.handshake.auth;
  if (!socketsOf.has(username)) socketsOf.set(username, new Set());
  const own = socketsOf.get(username).add(socket);
  socket.on('disconnect', () => {
    own.delete(socket);
    if (own.size === 0) socketsOf.delete(username);
  });
  socket.on('send_message', (payload, ack) => sendMessage(username, payload, ack));
  socket.emit('connection_success', { userId: username, socketId: socket.id });
  socket.emit('test_message', { message: 'Welcome!', timestamp: new Date().toISOString() });
});

process.once('SIGTERM', () => process.exit());
httpServer.listen(Number(process.env.PORT), '127.0.0.1');
