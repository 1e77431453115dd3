"""Accepts tokens that say whose they are: `name`, or `name:seconds since the epoch`."""

import asyncio

from infra.wire.errors import ErrorCode, Rejection
from socket_edge.auth import Identity
from tests.unit.socket_edge.connections import FAR_FUTURE

RETRY_AFTER_MS = 30_000


class FakeAuthenticator:
    """Implements `socket_edge.auth.Authenticator`."""

    def __init__(self) -> None:
        self.is_up = asyncio.Event()
        self.is_up.set()
        self.is_closed = False

    async def authenticate(self, token: str) -> Identity:
        """Return the user that the token names; refuse `bad`, and be unable to check `unknown`."""
        await self.is_up.wait()
        if token == "bad":
            raise Rejection(ErrorCode.UNAUTHORIZED, "The token is bad.")
        if token == "unknown":
            raise Rejection(ErrorCode.UNAVAILABLE, retry_after_ms=RETRY_AFTER_MS)
        name, _, expires_at = token.partition(":")
        return Identity(name, int(expires_at or FAR_FUTURE), f"name-of-{name}")

    async def aclose(self) -> None:
        """Note that it is closed."""
        self.is_closed = True
