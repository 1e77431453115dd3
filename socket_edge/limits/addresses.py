"""Limits how many connections one network address may open per second, and hold at once.

The address comes from the ASGI scope, where uvicorn has put what a trusted proxy reports
(`FORWARDED_ALLOW_IPS`).
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
from socket_edge.limits.token_bucket import TokenBucket

log = structlog.get_logger(__name__)

_FULL_S: Final = 5.0
"""How long to wait if nobody knows when there will be room."""
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
        """Count a new connection. Returns how many seconds to wait if it is one too many, else 0."""
        address, now = _network(host), self._clock()
        is_full = bool(self._sockets) and self._open[address] >= self._sockets
        wait_s = _FULL_S if is_full else self._connects.take(address, now)
        if wait_s and not self._lines.take(address, now):
            what = "sockets" if is_full else "connects"
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


class AddressGuard:
    """ASGI middleware around engineio: refuses surplus connections with HTTP 429, before they cost more.

    Socket.IO clients treat that as a network failure and try again, with growing pauses. After a
    Socket.IO refusal they would not.
    """

    def __init__(self, app: ASGIApp, addresses: Addresses) -> None:
        self._app = app
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on new connections that are allowed, and everything that belongs to an existing one."""
        wait_s = self._addresses.admit(peer(scope)) if _is_new(scope) else 0.0
        if wait_s:
            await _too_many_requests(wait_s)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def peer(scope: Scope | dict[str, Any]) -> str:
    """Return the client's address in an ASGI scope; empty if it has none."""
    client = scope.get("client")
    return client[0] if client else ""


def _is_new(scope: Scope) -> bool:
    """Tell whether engineio would open a connection. It parses the query in the same way."""
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
        return b""  # whatever is not an address counts as one
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped.packed if address.ipv4_mapped else address.packed[:8]
    return address.packed


def _too_many_requests(wait_s: float) -> Response:
    failure = Failure.of(ErrorCode.RATE_LIMITED, retry_after_ms=math.ceil(wait_s * 1000))
    headers = {"Retry-After": str(math.ceil(wait_s)), "Access-Control-Allow-Origin": "*"}
    return Response(msgspec.json.encode(error_event(failure)), 429, headers, "application/json")
