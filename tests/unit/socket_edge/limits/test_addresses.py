from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from socket_edge.limits.addresses import Addresses, AddressGuard, peer
from socket_edge.limits.token_bucket import TokenBucket

HANDSHAKE = b"EIO=4&transport=websocket"


def make(*, burst: int = 0, sockets: int = 0) -> Addresses:
    return Addresses(TokenBucket(1 if burst else 0, burst), sockets, clock=lambda: 0.0)


def test_new_connections_of_an_address_are_limited() -> None:
    addresses = make(burst=2)
    assert [addresses.admit("192.0.2.1") for _ in range(3)] == [0, 0, 1]
    assert addresses.admit("192.0.2.2") == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("unknown", "x" * 10_000, True),
        ("unknown", "192.0.2.1", False),
    ],
)
def test_addresses_of_one_network_count_as_one(one: str, other: str, same: bool) -> None:
    addresses = make(burst=1)
    addresses.admit(one)
    assert (addresses.admit(other) > 0) is same


def test_sockets_of_an_address_are_limited_until_one_leaves() -> None:
    addresses = make(sockets=2)
    first, _ = addresses.enter("192.0.2.1"), addresses.enter("192.0.2.1")
    assert addresses.admit("192.0.2.1") > 0
    assert addresses.admit("192.0.2.2") == 0
    addresses.leave(first)
    assert addresses.admit("192.0.2.1") == 0


def test_without_limits_nothing_is_refused() -> None:
    addresses = make()
    for _ in range(1_000):
        addresses.leave(addresses.enter("192.0.2.1"))
        addresses.enter("192.0.2.1")
    assert addresses.admit("192.0.2.1") == 0


@pytest.mark.parametrize(("scope", "host"), [({}, ""), ({"client": None}, ""), ({"client": ("h", 1)}, "h")])
def test_the_peer_is_the_address_in_the_scope(scope: dict[str, Any], host: str) -> None:
    assert peer(scope) == host


async def ask(guard: AddressGuard, query: bytes, method: str | None = "GET") -> int:
    """Return the status of a request, 0 if it got past the guard; a websocket has no method."""
    statuses: list[int] = []

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    kind = {"type": "http", "method": method} if method else {"type": "websocket", "extensions": {}}
    scope: dict[str, Any] = {**kind, "client": ("192.0.2.1", 1), "query_string": query, "headers": []}
    await guard(scope, receive, send)
    return max(statuses, default=0)


async def passes(scope: Scope, receive: Receive, send: Send) -> None:
    return


@pytest.mark.parametrize("method", ["GET", None], ids=["polling", "websocket"])
@pytest.mark.parametrize(
    "query", [HANDSHAKE, b"", b"sid=", b"xsid=1", b"SID=1", b"x=%26sid=1", b"sid%3d1", b"\xff"], ids=str
)
async def test_a_request_that_opens_a_connection_counts(query: bytes, method: str | None) -> None:
    guard = AddressGuard(passes, make(burst=1))
    assert [await ask(guard, query, method) for _ in range(2)] == [0, 429]


@pytest.mark.parametrize(
    ("query", "method"),
    [
        (b"sid=1", "GET"),
        (b"EIO=4&%73id=1", "GET"),
        (b"sid=1", None),
        (HANDSHAKE, "POST"),
        (HANDSHAKE, "OPTIONS"),
    ],
)
async def test_a_request_of_an_open_connection_does_not_count(query: bytes, method: str | None) -> None:
    guard = AddressGuard(passes, make(burst=1))
    assert {await ask(guard, query, method) for _ in range(5)} == {0}
