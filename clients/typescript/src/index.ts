export type * from './api.js';
export type * from './contract.js';
export { retryable } from './contract.js';
export { ChatError, type ChatErrorCode } from './errors.js';
export { memoryStorage, type ChatStorage } from './storage.js';
