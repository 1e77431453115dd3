"""Who a token speaks for, and the port that finds it out."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Identity:
    """The user that a verified token speaks for."""

    user_id: str
    """Canonical lowercase UUID."""
    expires_at: int
    """When the token ends, in seconds since the epoch."""
    username: str | None = None
    """`user_metadata.username`, if the token carries one. Users choose it: a label, not a proof."""


class Authenticator(Protocol):
    """Turns access tokens into identities."""

    async def authenticate(self, token: str) -> Identity:
        """Return whom `token` speaks for. Raises AuthError."""
        ...

    async def aclose(self) -> None:
        """Release connections and stop background work."""
        ...
