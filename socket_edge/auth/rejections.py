"""Why a token is refused. No message contains the token or a part of it."""

from infra.wire.errors import ErrorCode, Rejection


def unauthorized(message: str | None = None) -> Rejection:
    """Return the rejection of a token that will never be accepted."""
    return Rejection(ErrorCode.UNAUTHORIZED, message)


def unavailable() -> Rejection:
    """Return the rejection for when the keys or the Auth server cannot be reached."""
    return Rejection(ErrorCode.UNAVAILABLE, "Tokens cannot be checked right now, try again.")
