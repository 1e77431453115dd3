"""The websocket handshake, and frames that break the protocol."""

import asyncio
import gc
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx
import pytest
from structlog.testing import capture_logs

from socket_edge.connection.api import DisconnectReason
from socket_edge.connection.bounds import HEAD_BYTES, BoundedHttp
from socket_edge.connection.handshake import Handshake
from socket_edge.limits.token_bucket import TokenBucket
from tests.conformance.connections import Websocket
from tests.harness.waiting import PATIENCE_S, until
from tests.unit.socket_edge.connection.serving import CONNECT_S, Person, Served, pass_time, serve

ALICE = Person("alice")
TEXT, BINARY, CLOSE, CONTINUATION = 1, 2, 8, 0
REQUEST = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a short frame as clients send it (RFC 6455, section 5.2)."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    assert len(payload) < 126
    return bytes([fin << 7 | rsv << 4 | opcode, 0x80 | len(payload)]) + mask + masked


def request(**changes: str) -> bytes:
    """Return the head of a handshake with some headers changed; an empty one is left out."""
    headers = {**REQUEST, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    head = ["GET /socket.io/?EIO=4&transport=websocket HTTP/1.1", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a TCP connection."""
    url = httpx.URL(served.address.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Read until the server closes."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


def write(client: object, *frames: bytes) -> None:
    assert isinstance(client, Websocket)
    client.ws.transport.write(b"".join(frames))


async def test_what_a_client_sends_before_it_is_accepted_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    run, handshakes, may_run = Handshake.run_asgi, asyncio.Queue[Handshake](), asyncio.Event()

    async def run_later(self: Handshake) -> None:
        handshakes.put_nowait(self)
        await may_run.wait()
        await run(self)

    monkeypatch.setattr(Handshake, "run_asgi", run_later)
    async with serve() as served, connected(served) as (reader, writer):
        writer.write(request())
        handshake = await handshakes.get()
        early = frame(TEXT, b'40{"token":"alice"}') + frame(TEXT, b'42["sync",{}]')
        writer.write(early)
        async with asyncio.timeout(PATIENCE_S):
            while handshake._early != early:
                await asyncio.sleep(0)
        assert served.connections() == []
        may_run.set()
        await served.handler.until(lambda: served.handler.events)
        assert served.handler.events == [(ALICE, None, '["sync",{}]')]
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455, section 1.3


@pytest.mark.parametrize("has_polled", [False, True])
async def test_a_client_that_goes_before_it_is_accepted_leaves_nothing_and_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, has_polled: bool
) -> None:
    run, gone = Handshake.run_asgi, asyncio.Event()

    async def run_when_the_client_has_gone(self: Handshake) -> None:
        self.transport.close()
        await run(self)
        gone.set()

    monkeypatch.setattr(Handshake, "run_asgi", run_when_the_client_has_gone)
    with capture_logs() as logs:
        async with serve() as served, AsyncExitStack() as stack:
            head = request()
            if has_polled:
                _, polling = await stack.enter_async_context(served.client("polling"))
                head = head.replace(b"websocket ", f"websocket&sid={polling.id} ".encode(), 1)
            before = served.connections()
            _, writer = await stack.enter_async_context(connected(served))
            writer.write(head)
            async with asyncio.timeout(PATIENCE_S):
                await gone.wait()
            assert served.connections() == before
    assert [line for line in logs if line["log_level"] == "error"] == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_handshake_may_arrive_byte_by_byte() -> None:
    async with serve() as served, connected(served) as (reader, writer):
        for byte in request() + frame(TEXT, b'40{"token":"alice"}'):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await served.handler.until(lambda: served.handler.signed_in_as)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Sec_WebSocket_Key": ""}, b"400"),
        ({"Sec_WebSocket_Key": "short"}, b"400"),
        ({"Sec_WebSocket_Version": "8"}, b"400"),
        ({"Sec_WebSocket_Version": ""}, b"400"),
    ],
)
async def test_a_wrong_handshake_is_refused_and_the_connection_closed(
    changes: dict[str, str], status: bytes
) -> None:
    async with serve() as served, connected(served) as (reader, writer):
        writer.write(request(**changes))
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 " + status)
        assert served.connections() == []


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"GET ", b"POST ", None),
        (b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx", None),
        (b"\r\n\r\n", b"\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", None),
        (b"transport", "tränsport".encode(), b"400"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Version: 13\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"\r\nUpgrade: websocket\r\n\r\n", b"426"),
        (b"\r\n\r\n", b"\r\nOrigin: https://a.example\r\nOrigin: https://b.example\r\n\r\n", b"400"),
        (b"ZQ==", b"ZQ==\x00", b"400"),
        (b"ZQ==", "ZQ=ü".encode(), b"500"),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_an_unsound_handshake_is_refused_and_the_connection_closed(
    old: bytes, new: bytes, status: bytes | None
) -> None:
    async with serve() as served, connected(served) as (reader, writer):
        head = request()
        assert old in head
        writer.write(head.replace(old, new, 1))
        answer = await rest_of(reader)
        assert answer.startswith(b"HTTP/1.1 " + status + b" ") if status else answer == b""
        assert status == b"426" or new.strip() not in answer
        assert served.connections() == []


async def test_a_proxy_that_speaks_http_1_0_may_ask_for_a_websocket() -> None:
    async with serve() as served, connected(served) as (reader, writer):
        writer.write(request().replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


async def test_a_websocket_too_many_is_told_when_to_come_back() -> None:
    async with serve(connects=TokenBucket(0.1, 1)) as served, connected(served) as (reader, writer):
        writer.write(request())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        async with connected(served) as (other, other_writer):
            other_writer.write(request())
            head, _, body = (await rest_of(other)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nretry-after: 10\r\n" in head.lower()
        assert b"\r\nconnection: close" in head.lower()
        assert json.loads(body)["code"] == "rate_limited"


async def test_a_server_that_shuts_down_answers_a_request_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits, run, may_run = asyncio.Event(), Handshake.run_asgi, asyncio.Event()

    async def run_later(self: Handshake) -> None:
        waits.set()
        await may_run.wait()
        await run(self)

    monkeypatch.setattr(Handshake, "run_asgi", run_later)
    async with serve() as served, connected(served) as (reader, writer):
        writer.write(request())
        await waits.wait()
        served.shut_down()
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 500 ")
        may_run.set()


async def test_what_has_read_the_handshake_is_freed_at_once() -> None:
    gc.collect()
    gc.disable()
    try:
        async with serve() as served, served.client():
            assert [one for one in gc.get_objects() if isinstance(one, BoundedHttp)] == []
    finally:
        gc.enable()


async def test_a_handshake_for_a_connection_that_does_not_exist_is_refused() -> None:
    async with serve() as served, connected(served) as (reader, writer):
        writer.write(request().replace(b"transport=websocket", b"transport=websocket&sid=unknown"))
        assert b"101" not in (await rest_of(reader))[:20]
        assert served.connections() == []


def test_another_server_offers_no_handshake() -> None:
    with pytest.raises(KeyError):
        Handshake.of({"extensions": {}})


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(TEXT, b"2", rsv=4)], 1002),
        ([frame(TEXT, b"2", rsv=1)], 1002),
        ([frame(CONTINUATION, b"2")], 1002),
        ([frame(TEXT, b"4", fin=False), frame(TEXT, b"2")], 1002),
        ([frame(TEXT, b"4", fin=False), frame(BINARY, b"2")], 1002),
        ([frame(TEXT, b"\xff")], 1007),
        ([frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"\x28")], 1007),
        ([frame(3, b"")], 1002),
        ([frame(CLOSE, b"", fin=False)], 1002),
    ],
)
async def test_a_frame_that_breaks_the_protocol_ends_the_connection(frames: list[bytes], code: int) -> None:
    async with serve() as served, served.client() as (client, _):
        write(client, *frames)
        assert await client.closed() == code
        await served.handler.until(lambda: served.handler.gone)
        assert served.handler.gone == [(ALICE, DisconnectReason.PROTOCOL_ERROR)]
        assert served.connections() == []


async def test_fragments_of_text_and_of_binary_are_put_together() -> None:
    async with serve() as served, served.client() as (client, _):
        write(
            client,
            frame(TEXT, b'42["\xd1', fin=False),
            frame(CONTINUATION, b'\x87"', fin=False),
            frame(CONTINUATION, b"]"),
            frame(TEXT, b'451-["binary"]'),
            frame(BINARY, b"ab", fin=False),
            frame(CONTINUATION, b"c"),
            frame(TEXT, b'42["last"]'),
        )
        await served.handler.until(lambda: len(served.handler.events) == 3)
        assert [data for _, _, data in served.handler.events] == ['["ч"]', '["binary"]', '["last"]']


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_a_close_frame_is_answered_with_its_own_code(code: int) -> None:
    async with serve() as served, served.client() as (client, _):
        write(client, frame(CLOSE, struct.pack("!H", code)))
        assert await client.closed() == code


async def test_nothing_is_read_after_a_close_frame() -> None:
    async with serve() as served, served.client() as (client, _):
        write(client, frame(CLOSE, struct.pack("!H", 1000)), frame(TEXT, b'42["too late"]'))
        await client.closed()
        assert served.handler.events == []


async def test_a_client_that_does_not_answer_the_close_frame_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket_edge.connection.websocket.CLOSE_S", 0.05)
    async with serve() as served, connected(served) as (reader, writer):
        writer.write(request())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(TEXT, b'40{"token":"alice"}'))
        await served.handler.until(lambda: served.handler.signed_in_as)
        served.connections()[0].end(DisconnectReason.PING_TIMEOUT)
        assert (await rest_of(reader)).endswith(struct.pack("!BBH", 0x88, 2, 1000))


async def test_a_client_that_is_cut_off_before_it_is_served_has_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept = Handshake._accept

    def accept_and_stall(self: Handshake) -> None:
        accept(self)
        self.stalled()

    monkeypatch.setattr(Handshake, "_accept", accept_and_stall)
    with capture_logs() as logs:
        async with serve() as served, connected(served) as (reader, writer):
            writer.write(request())
            await rest_of(reader)
    assert [line["reason"] for line in logs if line["event"] == "connection_closed"] == ["slow_client"]


async def test_a_request_with_an_endless_head_is_refused() -> None:
    async with serve() as served, connected(served) as (reader, writer):
        writer.write(b"GET /socket.io/ HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * HEAD_BYTES)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"", b"GET /socket.io/ HTTP/1.1\r\nHost: lo", b"\r\n"], ids=repr)
async def test_a_request_that_never_ends_is_cut_off(sent: bytes) -> None:
    async with serve(connect_s=0.2) as served, connected(served) as (reader, writer):
        writer.write(sent)
        assert await rest_of(reader) == b""


async def test_the_body_of_a_request_must_arrive_in_time_too() -> None:
    async with (
        serve() as served,
        served.client("polling") as (_, connection),
        connected(served) as (reader, writer),
    ):
        line = f"POST /socket.io/?EIO=4&transport=polling&sid={connection.id} HTTP/1.1\r\n"
        writer.write(line.encode() + b"Host: localhost\r\nContent-Length: 10\r\n\r\n123")
        await until(lambda: connection._is_posting, "the edge takes the request")
        await pass_time(CONNECT_S)
        assert await rest_of(reader) == b""


async def test_a_poll_may_wait_longer_than_a_request_may_take_to_arrive() -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        waiting = asyncio.create_task(client.receive())
        await until(lambda: connection._is_polled, "the poll waits")
        await pass_time(2 * CONNECT_S)
        connection.send_event("ping", b"{}")
        assert await waiting == ['42["ping",{}]']


async def test_the_open_packet_tells_the_client_what_the_server_expects() -> None:
    async with (
        serve(frame_bytes=12_345, heartbeat_s=7, heartbeat_timeout_s=8) as served,
        served.client(name=None) as (client, connection),
    ):
        assert json.loads(client.packets[0][1:]) == {
            "sid": connection.id,
            "upgrades": [],
            "pingTimeout": 8_000,
            "pingInterval": 7_000,
            "maxPayload": 12_345,
        }
