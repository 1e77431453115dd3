"""Attacks on the framing of a websocket: too large, too small, never finished."""

import asyncio

import pytest

from tests.harness.deployment import Deployment
from tests.harness.raw import RawClient
from tests.security.conftest import CONNECT_S, Besiege
from tests.security.tcp import PING, TEXT, Tcp, frame

MB = 1_000_000


async def test_frames_of_ten_megabytes_close_their_connections(target: Deployment, besiege: Besiege) -> None:
    async with besiege(
        attack="frames of 10 MB",
        sent="20 frames, each on a connection of its own",
        outcome="closed with 1009 when the length is known; nothing is kept",
        bound_mb=50,
    ):
        for _ in range(20):
            async with Tcp(target.edges[0]) as tcp:
                await tcp.open_websocket()
                await tcp.send(frame(TEXT, bytes(10 * MB)))
                received = await tcp.closed()
                assert not received or b"\x03\xf1" in received, received[-100:]


async def test_frames_of_a_byte_are_taken_for_what_they_are(besiege: Besiege, raw: RawClient) -> None:
    async with besiege(
        attack="frames of a byte, and of none",
        sent="60,000 pongs, pings and empty pings on one connection, and one event byte by byte",
        outcome="they are taken, and the connection goes on",
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
        attack=f"messages without an end, {'in parts' if in_parts else 'in one frame'}",
        sent=f"{count} connections, 1 MB on each, never signed in",
        outcome="at most `TRANSPORT_BYTES` are kept of each; closed after `CONNECT_S`",
        bound_mb=4 * count,
    ):
        await asyncio.gather(*(leave_unfinished(target, start + part) for _ in range(count)))


async def leave_unfinished(target: Deployment, data: bytes) -> None:
    async with Tcp(target.edges[0]) as tcp:
        await tcp.open_websocket()
        await tcp.send(data)
        await tcp.closed(CONNECT_S + 5)


async def test_lengths_that_are_promised_only_cost_nothing(target: Deployment, besiege: Besiege) -> None:
    count = 200
    async with besiege(
        attack="lengths that are only promised",
        sent=f"{count} headers of frames of 999,999 bytes, and nothing more",
        outcome="closed after `CONNECT_S`",
        bound_mb=60,
    ):
        promise = frame(TEXT, b"", size=999_999)
        await asyncio.gather(*(leave_unfinished(target, promise) for _ in range(count)))
