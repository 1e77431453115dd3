"""The error codes that clients see, and the one exception that every layer refuses with."""

from enum import StrEnum

import msgspec


class ErrorCode(StrEnum):
    """Stable codes of failed requests and refused connections. Each has a heading in docs/events.md."""

    UNAUTHORIZED = "unauthorized"
    TOKEN_EXPIRED = "token_expired"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    INVALID_PAYLOAD = "invalid_payload"
    UNKNOWN_EVENT = "unknown_event"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    USER_NOT_FOUND = "user_not_found"
    PROFILE_MISSING = "profile_missing"
    CHAT_NOT_FOUND = "chat_not_found"
    NOT_A_MEMBER = "not_a_member"
    MESSAGE_NOT_FOUND = "message_not_found"
    REPORT_NOT_FOUND = "report_not_found"
    NOT_ALLOWED = "not_allowed"
    TOO_LATE = "too_late"
    USERNAME_TAKEN = "username_taken"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self in _RETRYABLE

    @property
    def default_message(self) -> str:
        """One sentence for people, free of internals."""
        return _MESSAGES[self]


_RETRYABLE = frozenset(
    {
        ErrorCode.TOKEN_EXPIRED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.BUSY,
        ErrorCode.TIMEOUT,
        ErrorCode.UNAVAILABLE,
    }
)

_MESSAGES = {
    ErrorCode.UNAUTHORIZED: "The access token is missing or not valid.",
    ErrorCode.TOKEN_EXPIRED: "The access token has expired.",
    ErrorCode.FORBIDDEN_ORIGIN: "This origin is not allowed to connect.",
    ErrorCode.INVALID_PAYLOAD: "The payload is not valid for this event.",
    ErrorCode.UNKNOWN_EVENT: "There is no such event.",
    ErrorCode.PAYLOAD_TOO_LARGE: "The payload is too large.",
    ErrorCode.USER_NOT_FOUND: "There is no such user.",
    ErrorCode.PROFILE_MISSING: "You have no profile yet.",
    ErrorCode.CHAT_NOT_FOUND: "There is no such chat.",
    ErrorCode.NOT_A_MEMBER: "You are not a member of this chat.",
    ErrorCode.MESSAGE_NOT_FOUND: "There is no such message.",
    ErrorCode.REPORT_NOT_FOUND: "There is no such report.",
    ErrorCode.NOT_ALLOWED: "You are not allowed to do this.",
    ErrorCode.TOO_LATE: "It is too late to change this message.",
    ErrorCode.USERNAME_TAKEN: "Somebody else has this username.",
    ErrorCode.RATE_LIMITED: "Too many requests, slow down.",
    ErrorCode.BUSY: "The server is busy, try again.",
    ErrorCode.TIMEOUT: "No answer in time. It may or may not have worked; try again.",
    ErrorCode.UNAVAILABLE: "The service is not available right now, try again.",
    ErrorCode.INTERNAL: "Something went wrong on our side.",
}


class Failure(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Why one request failed, as it travels from a worker to an edge."""

    code: ErrorCode
    message: str
    client_id: str | None = None
    """The client's own id of the request, if it gave one."""
    retry_after_ms: int | None = None
    """How long to wait before trying again, in milliseconds, if that is known."""

    @classmethod
    def of(
        cls,
        code: ErrorCode,
        message: str | None = None,
        client_id: str | None = None,
        retry_after_ms: int | None = None,
    ) -> "Failure":
        """Return a failure with the default message of `code` unless one is given."""
        return cls(code, message or code.default_message, client_id, retry_after_ms)


class Rejection(Exception):
    """A request or a connection is refused, for a reason that the client is told.

    `message` is one sentence for people, free of internals and secrets; by default that of `code`.
    """

    def __init__(
        self, code: ErrorCode, message: str | None = None, *, retry_after_ms: int | None = None
    ) -> None:
        self.code = code
        self.message = message or code.default_message
        self.retry_after_ms = retry_after_ms
        super().__init__(self.message)

    def failure(self, client_id: str | None = None) -> Failure:
        """Return the rejection as it travels, with the client's own id of the request."""
        return Failure.of(self.code, self.message, client_id, self.retry_after_ms)
