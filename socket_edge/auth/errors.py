"""Why a token was not accepted."""

from infra.wire.errors import ErrorCode
from socket_edge.errors import EdgeError


class AuthError(EdgeError):
    """The token is refused (`unauthorized`, `token_expired`), or nobody can tell now (`unavailable`).

    The message never contains the token or a part of it.
    """


def unauthorized(message: str | None = None) -> AuthError:
    """Return the refusal of a token that will never be accepted."""
    return AuthError(ErrorCode.UNAUTHORIZED, message)


def unavailable() -> AuthError:
    """Return the answer for when the keys or the Auth server cannot be reached."""
    return AuthError(ErrorCode.UNAVAILABLE, "Tokens cannot be checked right now, try again.")
