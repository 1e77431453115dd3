import pytest
from starlette.types import Message, Receive, Scope, Send

from socket_edge.connection.bounds import STRANGER_BYTES, BodyGuard, KeepAlive, SendBounds

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
    await BodyGuard(application, limit, lambda sid: sid == "known")(scope, receive, send)
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


async def test_a_client_that_is_gone_is_not_answered() -> None:
    assert await answers(first="http.disconnect") == []


@pytest.mark.parametrize(
    ("packets", "size", "allowed"), [(0, 0, True), (4, 99, True), (5, 0, False), (0, 100, False)]
)
def test_one_more_packet_may_wait_within_both_bounds(packets: int, size: int, allowed: bool) -> None:
    assert SendBounds(packets=5, size=100).allow(packets, size) is allowed


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
