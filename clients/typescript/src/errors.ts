import { retryable, type ErrorCode } from './contract.js';

/**
 * Why a request or a connection failed: the server's own codes, and those of the client.
 *
 * - `disconnected`: the connection is lost; the client is trying to get it back.
 * - `token_failed`: the app's `token` function has failed.
 * - `closed`: `close` was called.
 * - `push_denied`: the browser does not allow notifications, or knows none.
 */
export type ChatErrorCode = ErrorCode | 'disconnected' | 'token_failed' | 'closed' | 'push_denied';

const ours: Record<string, string> = {
  disconnected: 'There is no connection to the chat.',
  token_failed: 'The app could not get an access token.',
  closed: 'The chat is closed.',
  push_denied: 'This browser does not allow notifications.',
};

/** What every failure of this package is. `message` is one sentence for people; compare `code` instead. */
export class ChatError extends Error {
  override readonly name = 'ChatError';

  constructor(
    readonly code: ChatErrorCode,
    message?: string,
    /** When to try again, in milliseconds, if the server knows it. */
    readonly retryAfterMs?: number,
    options?: ErrorOptions,
  ) {
    super(message ?? ours[code] ?? code, options);
  }

  /** Whether the same request may succeed later. A code of a newer server counts as final. */
  get retryable(): boolean {
    const { code } = this;
    return code === 'disconnected' || code === 'token_failed' || (retryable as Record<string, boolean>)[code] === true;
  }
}

/**
 * Return what was thrown as a `ChatError`.
 *
 * @internal
 */
export function asChatError(cause: unknown): ChatError {
  return cause instanceof ChatError ? cause : new ChatError('internal', String(cause), undefined, { cause });
}

/**
 * Read the failure in an ack or in `data` of a refused connection; both have the same fields but for the text.
 *
 * @internal
 */
export function failureIn(data: { code: ErrorCode; error?: string; message?: string; retryAfterMs?: number }): ChatError {
  return new ChatError(data.code, data.error ?? data.message, data.retryAfterMs);
}
