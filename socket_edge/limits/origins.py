"""Which browser origins may connect."""

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

    def check(self, origin: str, host: str) -> None:
        """Check the `Origin` and `Host` that a client sent. Raises Rejection(forbidden_origin)."""
        origin = origin.lower()
        if not origin or self._any or origin in self._allowed:
            return
        if _host(origin) != host.lower():
            raise ForbiddenOrigin(
                " or ".join((*sorted(self._allowed), f"a page of {shown(host.lower())}")), shown(origin)
            )


def _host(origin: str) -> str | None:
    """Return the host and port of an origin; None if it has none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
