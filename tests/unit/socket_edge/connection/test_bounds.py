from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from socket_edge.connection.bounds import (
    STRANGER_BYTES,
    AddressGuard,
    BodyGuard,
    KeepAlive,
    SendBounds,
    peer,
)
from socket_edge.limits.addresses import Addresses
from socket_edge.limits.token_bucket import TokenBucket

HANDSHAKE = b"EIO=4&transport=websocket"

PASSED = 200
"""What the application behind the guard answers here."""


async def answers(
    *headers: tuple[bytes, bytes], first: str = "http.request", query: bytes = b"", limit: int = 10
) -> list[int]:
    """Return what is answered to a request with these headers."""
    answered: list[int] = []

    async def application(_: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        await send({"status": PASSED})

    async def receive() -> Message:
        return {"type": first, "body": b""}

    async def send(message: Message) -> None:
        if "status" in message:
            answered.append(message["status"])

    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": query}
    refused: list[tuple[str, int]] = []
    guard = BodyGuard(
        application, limit, lambda sid: sid == "known", lambda sid, size: refused.append((sid, size))
    )
    await guard(scope, receive, send)
    assert bool(refused) is (answered == [413])
    return answered


@pytest.mark.parametrize(
    ("length", "status"), [(b"0", PASSED), (b"10", PASSED), (b"11", 413), (b"x", PASSED)]
)
async def test_a_body_over_the_limit_is_refused(length: bytes, status: int) -> None:
    assert await answers((b"content-length", length)) == [status]


@pytest.mark.parametrize(
    ("query", "status"), [(b"sid=known", PASSED), (b"sid=stranger", 413), (b"sid=", 413), (b"", 413)]
)
async def test_a_stranger_may_only_send_a_small_body(query: bytes, status: int) -> None:
    size = str(STRANGER_BYTES + 1).encode()
    assert await answers((b"content-length", size), query=query, limit=2 * STRANGER_BYTES) == [status]


@pytest.mark.parametrize(("value", "status"), [(b"websocket", 400), (b"WebSocket", 400), (b"h2c", PASSED)])
async def test_an_upgrade_to_a_websocket_that_comes_as_a_request_is_refused(
    value: bytes, status: int
) -> None:
    assert await answers((b"connection", b"upgrade"), (b"upgrade", value)) == [status]


async def test_a_body_of_unknown_length_is_refused() -> None:
    assert await answers((b"transfer-encoding", b"chunked")) == [411]


async def test_a_client_that_is_gone_is_not_answered() -> None:
    assert await answers(first="http.disconnect") == []


@pytest.mark.parametrize(
    ("packets", "size", "allowed"), [(0, 0, True), (4, 99, True), (5, 0, False), (0, 100, False)]
)
def test_one_more_packet_may_wait_within_both_bounds(packets: int, size: int, allowed: bool) -> None:
    assert SendBounds(max_packets=5, max_bytes=100).allow(packets, size) is allowed


@pytest.mark.parametrize(
    ("method", "path", "status", "closes"),
    [
        ("GET", "/socket.io/", 200, False),
        ("POST", "/socket.io/", 200, False),
        ("POST", "/socket.io/", 413, False),
        ("GET", "/socket.io/", 400, True),
        ("OPTIONS", "/socket.io/", 200, True),
        ("GET", "/healthz", 200, True),
    ],
)
async def test_only_a_successful_poll_keeps_its_connection(
    method: str, path: str, status: int, closes: bool
) -> None:
    answered: list[Message] = []

    async def application(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"x", b"y")]})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        answered.append(message)

    await KeepAlive(application, "/socket.io/")(
        {"type": "http", "path": path, "method": method}, receive, send
    )
    start, body = answered
    assert start["headers"] == [(b"x", b"y")] + [(b"connection", b"close")] * closes
    assert body == {"type": "http.response.body", "body": b""}


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


def guarded() -> AddressGuard:
    """Return a guard that lets one request of an address pass, and all of the connection `known`."""
    addresses = Addresses(TokenBucket(1, 1), 0, clock=lambda: 0.0)
    return AddressGuard(passes, addresses, lambda sid: sid == "known")


@pytest.mark.parametrize("method", ["GET", "POST", None], ids=["poll", "post", "websocket"])
@pytest.mark.parametrize(
    "query", [HANDSHAKE, b"", b"sid=", b"xsid=1", b"SID=1", b"x=%26sid=1", b"sid%3d1", b"\xff"], ids=str
)
async def test_a_request_that_opens_a_connection_counts(query: bytes, method: str | None) -> None:
    guard = guarded()
    assert [await ask(guard, query, method) for _ in range(2)] == [0, 429]


@pytest.mark.parametrize(
    ("query", "method"),
    [
        (b"sid=known", "GET"),
        (b"sid=known", "POST"),
        (b"sid=known", "OPTIONS"),
        (b"EIO=4&%73id=known", "GET"),
        (b"sid=known", None),
        (HANDSHAKE, "OPTIONS"),
    ],
)
async def test_a_request_of_an_open_connection_does_not_count(query: bytes, method: str | None) -> None:
    guard = guarded()
    assert {await ask(guard, query, method) for _ in range(5)} == {0}


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", None], ids=str)
@pytest.mark.parametrize("query", [b"sid=gone", b"sid=gone&sid=known", b"%73id=gone"], ids=str)
async def test_a_request_for_a_connection_that_does_not_exist_counts(
    query: bytes, method: str | None
) -> None:
    guard = guarded()
    assert [await ask(guard, query, method) for _ in range(2)] == [0, 429]
