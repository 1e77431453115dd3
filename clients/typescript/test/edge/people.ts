import { createHmac, randomUUID } from 'node:crypto';
import { afterEach } from 'vitest';
import { createChat, memoryStorage, type Chat, type ChatOptions } from '../../src/index.js';
import { until } from '../until.js';

/** Addresses of the edges that a test of Python has started. */
export const edges = JSON.parse(process.env.BBGRAM_EDGES!) as string[];

/** Somebody who can sign in. */
export interface Person {
  name: string;
  id: string;
  /** Sign a token. */
  token(ttlS?: number): string;
}

const clients: Chat[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((chat) => chat.close()));
});

/** Return somebody with a name that nobody else has. */
export function person(name: string): Person {
  const [id, unique] = [randomUUID(), `${name}_${randomUUID().slice(0, 8)}`];
  return { name: unique, id, token: (ttlS = 3600) => sign(id, unique, ttlS) };
}

/** Return the same person under another name. */
export function renamed(who: Person, name: string): Person {
  return { ...who, name, token: (ttlS = 3600) => sign(who.id, name, ttlS) };
}

/** Return a client that is not connected. */
export function clientOf(who: Person, options: Partial<ChatOptions> = {}): Chat {
  const defaults = { url: edges[0]!, token: async () => who.token(), storage: memoryStorage() };
  const chat = createChat({ socket: { transports: ['websocket'] }, ...defaults, ...options });
  clients.push(chat);
  return chat;
}

/** Return a client that is connected and up to date. */
export async function live(who: Person, options: Partial<ChatOptions> = {}): Promise<Chat> {
  const chat = clientOf(who, options);
  chat.connect();
  await until(chat, () => chat.getConnection().state === 'live');
  return chat;
}

/** The texts of a conversation, as they are shown. */
export function texts(chat: Chat, username: string): string[] {
  return chat.getConversation(username)?.messages.map((message) => message.text) ?? [];
}

function sign(sub: string, username: string, ttlS: number): string {
  const exp = Math.floor(Date.now() / 1000 + ttlS);
  const iss = `${process.env.BBGRAM_SUPABASE_URL}/auth/v1`;
  const claims = { sub, exp, iss, aud: 'authenticated', role: 'authenticated', user_metadata: { username } };
  const body = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  const signature = createHmac('sha256', process.env.BBGRAM_SECRET!).update(body.join('.')).digest('base64url');
  return [...body, signature].join('.');
}
