"""The user a token belongs to, and the port that verifies tokens."""

import time
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a verified token."""

    user_id: str
    """Canonical lowercase UUID."""
    expires_at: int
    """When the token expires, in seconds since the epoch."""
    username: str | None = None
    """`user_metadata.username`, if the token has one. Users choose it themselves: it proves nothing."""
    issued_at: float | None = None
    """When the token was issued, in seconds since the epoch; None if it does not say."""
    presented_at: float = field(default_factory=lambda: time.time(), compare=False)
    """When the token was presented, in seconds since the epoch."""

    def is_issued_by(self, moment_ms: int) -> bool:
        """Tell whether the token is as old as that, in ms since the epoch. One that does not say is."""
        return (self.issued_at or 0) * 1000 <= moment_ms


class Authenticator(Protocol):
    """Turns access tokens into identities."""

    async def authenticate(self, token: str) -> Identity:
        """Return the user of `token`. Raises Rejection."""
        ...

    async def aclose(self) -> None:
        """Release connections and stop background work."""
        ...
