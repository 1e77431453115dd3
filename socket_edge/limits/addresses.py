"""What one network address may do: open connections, so many a second and so many at once.

It is the address in the ASGI scope, where uvicorn has put what a trusted proxy says (`FORWARDED_ALLOW_IPS`).
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.wire.errors import ErrorCode, Failure
from infra.wire.events import error_event
from socket_edge.limits.rate import Rate

log = structlog.get_logger(__name__)

_FULL_S: Final = 5.0
"""When to try again if it is not known when there will be room."""
_LINES_PER_S: Final = 1 / 60
"""Log lines about one address."""
_HOST_CHARS: Final = 64
"""Of an address that are logged; a proxy may pass on anything."""


class Addresses:
    """The book-keeping. Sockets count from the handshake on, signed in or not; 0 `sockets` is no limit."""

    def __init__(self, connects: Rate, sockets: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._connects = connects
        self._sockets = sockets
        self._open: Counter[bytes] = Counter()
        self._lines = Rate(_LINES_PER_S, 1)
        self._clock = clock

    def admit(self, host: str) -> float:
        """Count a new connection; return 0, or, if it is one too many, when to try again, in seconds."""
        address, now = _network(host), self._clock()
        is_full = bool(self._sockets) and self._open[address] >= self._sockets
        wait_s = _FULL_S if is_full else self._connects.take(address, now)
        if wait_s and not self._lines.take(address, now):
            what = "sockets" if is_full else "connects"
            log.warning("connections_refused", address=host[:_HOST_CHARS], what=what)
        return wait_s

    def enter(self, host: str) -> bytes | None:
        """Count a socket; return what to `leave` with."""
        if not self._sockets:
            return None
        address = _network(host)
        self._open[address] += 1
        return address

    def leave(self, address: bytes | None) -> None:
        """Count a socket no more."""
        if address is not None:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


class AddressGuard:
    """ASGI middleware around engineio: one connection too many costs it nothing, and the client an HTTP 429.

    Socket.IO clients take that for a failure of the network and try again, with pauses that grow. After a
    refusal in Socket.IO's own words they would not.
    """

    def __init__(self, app: ASGIApp, addresses: Addresses) -> None:
        self._app = app
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what belongs to a connection, and connections that may be opened."""
        wait_s = self._addresses.admit(peer(scope)) if _is_new(scope) else 0.0
        if wait_s:
            await _too_many_requests(wait_s)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def peer(scope: Scope | dict[str, Any]) -> str:
    """Return who is at the other end of an ASGI scope; empty if it does not say."""
    client = scope.get("client")
    return client[0] if client else ""


def _is_new(scope: Scope) -> bool:
    """Tell whether engineio would open a connection; it reads the query in the same way."""
    if scope["type"] == "http" and scope["method"] != "GET":
        return False
    query: bytes = scope["query_string"]
    if b"sid" not in query and b"%" not in query:
        return True
    return "sid" not in parse_qs(query.decode(errors="replace"))


@lru_cache(maxsize=4096)
def _network(host: str) -> bytes:
    """Return what counts as one address: an IPv4 address, or the 64 bits of an IPv6 network."""
    try:
        address = ip_address(host)
    except ValueError:
        return b""  # not set by a proxy of ours: one for all of them
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped.packed if address.ipv4_mapped else address.packed[:8]
    return address.packed


def _too_many_requests(wait_s: float) -> Response:
    failure = Failure.of(ErrorCode.RATE_LIMITED, retry_after_ms=math.ceil(wait_s * 1000))
    headers = {"Retry-After": str(math.ceil(wait_s)), "Access-Control-Allow-Origin": "*"}
    return Response(msgspec.json.encode(error_event(failure)), 429, headers, "application/json")
