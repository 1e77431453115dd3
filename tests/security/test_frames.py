"""Attacks on the framing of a websocket: too large, too small, never finished."""

import asyncio
import json
from contextlib import suppress

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from tests.conformance.test_frames import WRONG
from tests.conformance.test_malformed import FRAMES
from tests.harness.deployment import Deployment, make_token
from tests.harness.raw import RawClient, event
from tests.harness.waiting import PATIENCE_S
from tests.security.conftest import SEND_BYTES, Besiege
from tests.security.tcp import BINARY, GOODBYE, PING, TEXT, Tcp, frame

pytestmark = pytest.mark.alone

MB = 1_000_000
AT_ONCE = 15
"""Simultaneous connections of one user, fewer than `SOCKETS_PER_USER`."""


async def test_frames_of_ten_megabytes_close_their_connections(target: Deployment, besiege: Besiege) -> None:
    async with besiege(
        attack="frames of 10 MB",
        sent="20 frames, each on its own connection",
        outcome="closed with 1009 once the length is known; nothing is kept",
        bound_mb=50,
    ):
        for _ in range(20):
            async with Tcp(target.edges[0]) as tcp:
                await tcp.open_websocket()
                await tcp.send(frame(TEXT, bytes(10 * MB)))
                received = await tcp.closed()
                assert not received or b"\x03\xf1" in received, received[-100:]


async def test_frames_of_one_byte_are_accepted(besiege: Besiege, raw: RawClient) -> None:
    async with besiege(
        attack="frames of one byte or none",
        sent="60,000 pongs, pings and empty pings on one connection, and one event byte by byte",
        outcome="accepted; the connection stays open",
        bound_mb=20,
    ):
        for _ in range(100):
            raw.ws.transport.write((frame(TEXT, b"3") + frame(PING, b"") + frame(PING, b"x")) * 200)
            await asyncio.sleep(0)
        for byte in frame(TEXT, b'4277["list_chats",{}]'):
            raw.ws.transport.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await raw.ack_of(77))["success"]


@pytest.mark.parametrize("in_parts", [False, True], ids=["one frame", "parts"])
async def test_messages_without_an_end_are_bounded_and_closed_with_their_connections(
    target: Deployment, besiege: Besiege, in_parts: bool
) -> None:
    count = 20
    start = frame(TEXT, b"4", fin=False) if in_parts else b""
    part = frame(0 if in_parts else TEXT, bytes(990_000), fin=False, size=None if in_parts else 999_999)
    async with besiege(
        attack=f"endless messages, {'in parts' if in_parts else 'in one frame'}",
        sent=f"{count} connections, 1 MB on each, never signed in",
        outcome="cut off after 128 kB",
        bound_mb=count / 2,
    ):
        await asyncio.gather(*(leave_unfinished(target, start + part) for _ in range(count)))


async def leave_unfinished(target: Deployment, data: bytes) -> None:
    async with Tcp(target.edges[0]) as tcp:
        await tcp.open_websocket()
        await tcp.send(data)
        await tcp.closed()


async def test_announced_lengths_without_content_cost_nothing(target: Deployment, besiege: Besiege) -> None:
    count = 200
    async with besiege(
        attack="announced lengths without content",
        sent=f"{count} frame headers that announce 999,999 bytes, and nothing more",
        outcome="closed after `CONNECT_S`",
        bound_mb=60,
    ):
        promise = frame(TEXT, b"", size=999_999)
        await asyncio.gather(*(leave_unfinished(target, promise) for _ in range(count)))


async def test_malformed_packets_and_frames_harm_their_own_connection_only(
    target: Deployment, besiege: Besiege, mallory: str
) -> None:
    packets = [packet for packet, _ in FRAMES.values()]
    broken = [
        *(frame(BINARY, packet) for packet in packets if isinstance(packet, bytes)),
        *(frame(TEXT, packet.encode()) for packet in packets if isinstance(packet, str)),
        *(data for data, _ in WRONG.values()),
    ]
    async with besiege(
        attack="malformed packets and frames",
        sent=f"{10 * len(broken)} connections, each with one of {len(broken)} kinds after signing in",
        outcome="an `error` event, no reaction, or the connection is closed",
        bound_mb=60,
    ):
        for start in range(0, 10 * len(broken), AT_ONCE):
            kinds = (10 * broken)[start : start + AT_ONCE]
            await asyncio.gather(*(survive(target, mallory, data) for data in kinds))


async def survive(target: Deployment, mallory: str, data: bytes) -> None:
    """Sign in, send the data, and wait until the next event is answered or the connection is closed."""
    connect = f"40{json.dumps({'token': make_token(mallory)})}".encode()
    async with Tcp(target.edges[0]) as tcp, asyncio.timeout(PATIENCE_S):
        await tcp.open_websocket()
        await tcp.send(frame(TEXT, connect) + data + frame(TEXT, b'4277["list_chats",{}]'))
        received = b""
        while b"4377[" not in received and GOODBYE not in received:
            received += (more := await tcp.receive())
            if not more:
                break


async def test_a_reader_that_has_stalled_is_cut_off(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str
) -> None:
    for _ in range(10):
        ack = await raw.ask(event("send_message", {"username": mallory, "text": "\N{GRINNING FACE}" * 4_000}))
    page = event("get_messages", {"chatId": ack["message"]["chatId"], "limit": 10})
    edge = psutil.Process(target.edges[0].process.pid)
    async with besiege(
        attack="a reader that has stalled",
        sent="400 requests for pages of 160 kB, which are never read",
        outcome="cut off at `SEND_BYTES`; grows by no more than that plus what is in transit",
        bound_mb=SEND_BYTES / MB + 16,
        worker_mb=60,  # it handles up to 20 requests for pages of one user together
    ):
        port = raw.ws.local_address[1]
        raw.stop_reading()
        with suppress(ConnectionClosed):
            for _ in range(400):
                await raw.post(page)
        async with asyncio.timeout(PATIENCE_S):
            while any(c.raddr and c.raddr.port == port for c in edge.net_connections("tcp")):
                await asyncio.sleep(0.05)
