/**
 * Client of BB-Gram chat.
 *
 * @packageDocumentation
 */
export type * from './api.js';
export { createChat } from './chat.js';
export type * from './contract.js';
export { retryable } from './contract.js';
export { ChatError, type ChatErrorCode } from './errors.js';
export { indexedDBStorage } from './indexeddb.js';
export { memoryStorage, type ChatStorage } from './storage.js';
