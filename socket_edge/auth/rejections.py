"""Why a token is refused: what the client is told, and what only the operator learns.

No message contains the token or a part of it; `expected` and `got` hold single claims, as `infra.logs.shown`
lets them appear in a log.
"""

from enum import StrEnum
from typing import Final

from infra.wire.errors import ErrorCode, Rejection


class RefusalReason(StrEnum):
    """Why a sign-in or a `refresh_token` is refused. docs/operations.md says what to do about each."""

    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    ALGORITHM = "algorithm"
    SIGNATURE = "signature"
    UNKNOWN_KEY = "unknown_key"
    WEAK_KEY = "weak_key"
    MISSING_CLAIM = "missing_claim"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    SUBJECT = "subject"
    ROLE = "role"
    ANONYMOUS = "anonymous"
    ONE_FACTOR = "one_factor"
    REFUSED_BY_AUTH_SERVER = "refused_by_auth_server"
    API_KEY = "api_key"
    KEYS_UNAVAILABLE = "keys_unavailable"
    UNAVAILABLE = "unavailable"
    OTHER_USER = "other_user"
    ORIGIN = "origin"
    OTHER = "other"
    """Refused by something other than the sign-in, such as a limit."""


class TokenRejection(Rejection):
    """A token is refused. `reason`, `expected` and `got` are for the operator and never reach the client."""

    def __init__(
        self,
        code: ErrorCode,
        reason: RefusalReason,
        message: str | None = None,
        *,
        expected: str | None = None,
        got: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(code, message, retry_after_ms=retry_after_ms)
        self.reason = reason
        self.expected = expected
        self.got = got


_CANNOT_CHECK: Final = "Tokens cannot be checked right now, try again."


def unauthorized(
    reason: RefusalReason, message: str | None = None, *, expected: str | None = None, got: str | None = None
) -> TokenRejection:
    """Return the rejection of a token that is not accepted."""
    return TokenRejection(ErrorCode.UNAUTHORIZED, reason, message, expected=expected, got=got)


def expired(*, expected: str, got: str) -> TokenRejection:
    """Return the rejection of an expired token."""
    return TokenRejection(ErrorCode.TOKEN_EXPIRED, RefusalReason.EXPIRED, expected=expected, got=got)


def unavailable(
    reason: RefusalReason = RefusalReason.UNAVAILABLE,
    *,
    expected: str | None = None,
    got: str | None = None,
    retry_after_ms: int | None = None,
) -> TokenRejection:
    """Return the rejection for when the keys or the Auth server cannot be reached."""
    return TokenRejection(
        ErrorCode.UNAVAILABLE,
        reason,
        _CANNOT_CHECK,
        expected=expected,
        got=got,
        retry_after_ms=retry_after_ms,
    )
