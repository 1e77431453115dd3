"""Which browser origins may connect."""

from urllib.parse import urlsplit

from infra.wire.errors import ErrorCode, Rejection


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
            raise Rejection(ErrorCode.FORBIDDEN_ORIGIN)


def _host(origin: str) -> str | None:
    """Return the host and port of an origin; None if it has none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
