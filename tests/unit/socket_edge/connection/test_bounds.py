from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from socket_edge.connection.bounds import (
    AddressGuard,
    BodyTooLarge,
    ClientGone,
    KeepAlive,
    SendBounds,
    peer,
    read_body,
)
from socket_edge.limits.addresses import Addresses
from socket_edge.limits.token_bucket import TokenBucket

HANDSHAKE = b"EIO=4&transport=websocket"


async def body_of(
    *chunks: bytes, announced: int | None = None, limit: int = 10, is_cut: bool = False
) -> bytes:
    """Return what is read of a request's body that arrives in these chunks."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.disconnect"} if is_cut else {"type": "http.request", "more_body": False})

    async def receive() -> Message:
        return messages.pop(0)

    headers = [] if announced is None else [(b"content-length", str(announced).encode())]
    return await read_body({"type": "http", "headers": headers}, receive, 10)


@pytest.mark.parametrize("chunks", [(), (b"",), (b"4hello",), (b"4", b"", b"hel", b"lo"), (b"1234567890",)])
@pytest.mark.parametrize("is_announced", [False, True])
async def test_a_body_is_read_to_its_end_however_it_comes(
    chunks: tuple[bytes, ...], is_announced: bool
) -> None:
    whole = b"".join(chunks)
    assert await body_of(*chunks, announced=len(whole) if is_announced else None) == whole


@pytest.mark.parametrize(
    ("chunks", "announced", "size"),
    [
        ((), 11, 11),
        ((b"1234567890", b"1", b"never read"), None, 11),
        ((b"12345678901234567890",), None, 20),
        ((b"12345678901",), 3, 11),
    ],
    ids=["announced", "chunks", "one chunk", "a false announcement"],
)
async def test_a_body_over_the_limit_is_refused_as_soon_as_that_is_known(
    chunks: tuple[bytes, ...], announced: int | None, size: int
) -> None:
    with pytest.raises(BodyTooLarge) as refused:
        await body_of(*chunks, announced=announced)
    assert refused.value.size == size


@pytest.mark.parametrize("chunks", [(), (b"4hello",)])
async def test_a_body_that_is_cut_short_is_none(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(ClientGone):
        await body_of(*chunks, is_cut=True)


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
