"""Which browser origins may connect."""

from typing import Any
from urllib.parse import urlsplit

from infra.logs import shown
from infra.wire.errors import ErrorCode, Rejection


class ForbiddenOrigin(Rejection):
    """A browser page of this origin may not connect. `expected` and `got` are for the operator."""

    def __init__(self, allowed: str, origin: str) -> None:
        super().__init__(ErrorCode.FORBIDDEN_ORIGIN)
        self.expected = allowed
        self.got = origin


class Origins:
    """Allows the configured origins, the edge's own, and clients that send none: they are not browsers."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._any = "*" in allowed
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)

    def check(self, scope: dict[str, Any]) -> None:
        """Check the ASGI scope of a connection. Raises Rejection(forbidden_origin)."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if not origin or self._any or origin in self._allowed:
            return
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _host(origin) != host:
            raise ForbiddenOrigin(
                " or ".join((*sorted(self._allowed), f"a page of {shown(host)}")), shown(origin)
            )


def _host(origin: str) -> str | None:
    """Return the host and port of an origin; None if it has none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
