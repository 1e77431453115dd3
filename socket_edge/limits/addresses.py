"""Limits how many connections one network address may open per second, and hold at once.

The address comes from the ASGI scope, where uvicorn has put what a trusted proxy reports
(`FORWARDED_ALLOW_IPS`).
"""

import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

import structlog

from socket_edge import metrics
from socket_edge.limits.token_bucket import TokenBucket

log = structlog.get_logger(__name__)

_FULL_S: Final = 5.0
"""Retry delay when an address is at its limit of open connections."""
_LINES_PER_S: Final = 1 / 60
"""Log lines per address."""
_HOST_CHARS: Final = 64
"""Characters of an address to log: a proxy may pass on anything."""


class Addresses:
    """Counts connections by address, signed in or not. `sockets` bounds the open ones; 0 is no limit."""

    def __init__(
        self, connects: TokenBucket, sockets: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connects = connects
        self._sockets = sockets
        self._open: Counter[bytes] = Counter()
        self._lines = TokenBucket(_LINES_PER_S, 1)
        self._clock = clock

    def admit(self, host: str) -> float:
        """Count a new connection, or a request for one that does not exist.

        Returns how many seconds to wait if it is one too many, else 0.
        """
        address, now = _network(host), self._clock()
        is_full = bool(self._sockets) and self._open[address] >= self._sockets
        wait_s = _FULL_S if is_full else self._connects.take(address, now)
        if not wait_s:
            return 0.0
        what = "sockets" if is_full else "connects"
        metrics.REFUSED_CONNECTIONS.labels(what).inc()
        if not self._lines.take(address, now):
            log.warning("connections_refused", address=host[:_HOST_CHARS], what=what)
        return wait_s

    def enter(self, host: str) -> bytes | None:
        """Count an open connection; return the argument for `leave`."""
        if not self._sockets:
            return None
        address = _network(host)
        self._open[address] += 1
        return address

    def leave(self, address: bytes | None) -> None:
        """Stop counting a connection."""
        if address is not None:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


@lru_cache(maxsize=4096)
def _network(host: str) -> bytes:
    """Return what counts as one address: an IPv4 address, or the 64 bits of an IPv6 network."""
    try:
        address = ip_address(host)
    except ValueError:
        return b""  # whatever is not an address counts as one
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped.packed if address.ipv4_mapped else address.packed[:8]
    return address.packed
