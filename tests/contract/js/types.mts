// Compiled by tests/contract/test_typescript_types.py: the types fit the stock client, and refuse what is wrong.
import { io, type Socket } from 'socket.io-client';
import {
  retryable,
  type Ack,
  type ClientToServerEvents,
  type ErrorAck,
  type ErrorCode,
  type ErrorEvent,
  type Message,
  type Payload,
  type SendAck,
  type ServerToClientEvents,
} from '../../../clients/typescript/src/contract.ts';

const auth = { token: 'a token' };
const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:3000', { auth });

socket.on('new_message', (message, ack) => {
  const seq: number = message.seq;
  ack({ seq });
});
socket.on('message_sent', (message) => message.text);
socket.on('ping', ({ timestamp }, ack) => ack(timestamp));
socket.on('error', ({ code, retryAfterMs }) => (retryable[code] ? retryAfterMs : undefined));
socket.on('connect_error', (error: Error & { data?: ErrorEvent }) => error.data?.code);

const answer = await socket.emitWithAck('send_message', { username: 'bob', text: 'Hello' });
const message: Message | undefined = answer.success ? answer.message : undefined;
const code: ErrorCode | undefined = answer.success ? undefined : answer.code;

// Behind timeout(), Socket.IO's own types lose that of the answer.
const late: SendAck | ErrorAck = await socket.timeout(15000).emitWithAck('send_message', { username: 'bob', text: 'Hi' });

socket.emit('typing', { isTyping: true, username: 'bob' });
socket.emit('list_chats', { since: null }, (chats) => chats.success && chats.nextCursor);

const payload: Payload<'mark_as_read'> = { chatId: 'a chat', upTo: 1 };
const ack: Ack<'send_message'> = {} as SendAck;
export { ack, code, late, message, payload };

// @ts-expect-error: there is no such event
socket.on('new_mesage', () => {});
// @ts-expect-error: the seq is missing
socket.emit('unsend_message', { chatId: 'a chat' }, () => {});
// @ts-expect-error: a number is no text
socket.emit('send_message', { username: 'bob', text: 5 }, () => {});
// @ts-expect-error: there is no such channel
socket.emit('register_device', { channel: 'pigeon', address: 'x' }, () => {});
// @ts-expect-error: an ack that failed has no message
if (!answer.success) answer.message;
// @ts-expect-error: there is no such code
retryable.no_such_code;
// @ts-expect-error: a failed ack is not what the event is answered with
const failed: Ack<'typing'> = { success: false, error: '', code: 'busy', retryable: true };
