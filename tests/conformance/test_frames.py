"""Websocket frames as RFC 6455 defines them: fragmented, out of order, with reserved bits."""

import asyncio
import itertools
import json
import struct

import pytest

from tests.conformance.connections import Websocket
from tests.conformance.servers import Server
from tests.conformance.stock import FRAME_BYTES
from tests.conftest import Name

CONTINUATION, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10
HALF = bytes(FRAME_BYTES // 2)


def frame(
    opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """Build a frame; its mask changes nothing."""
    data = payload.encode() if isinstance(payload, str) else payload
    return header(opcode, len(data), fin=fin, rsv=rsv, masked=masked) + data


def header(opcode: int, size: int, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """Build the header of a frame."""
    first, mask = fin << 7 | rsv << 4 | opcode, masked << 7
    if size < 126:
        start = struct.pack("!BB", first, mask | size)
    elif size < 65_536:
        start = struct.pack("!BBH", first, mask | 126, size)
    else:
        start = struct.pack("!BBQ", first, mask | 127, size)
    return start + bytes(4) if masked else start


def event(ack_id: int, text: str = "") -> bytes:
    """Return an event as it stands in a websocket message."""
    return f"42{ack_id}{json.dumps(['list_chats', {'note': text}], ensure_ascii=False)}".encode()


@pytest.mark.parametrize("cuts", [[1], [0, 5], [3, 3, 3], [2, 10, 11, 12]], ids=str)
async def test_a_fragmented_message_is_put_together(server: Server, name: Name, cuts: list[int]) -> None:
    async with Websocket(server) as alice:
        await alice.sign_in(name("alice"))
        message = event(1, "in parts")
        edges = [0, *cuts, len(message)]
        parts = [message[start:end] for start, end in itertools.pairwise(edges)]
        kinds = [TEXT, *[CONTINUATION] * len(cuts)]
        for number, (kind, part) in enumerate(zip(kinds, parts, strict=True)):
            alice.ws.transport.write(frame(kind, part, fin=number == len(cuts)))
        await alice.answer(1)
        await alice.assert_alive()


async def test_fragments_may_split_a_character(server: Server, name: Name) -> None:
    async with Websocket(server) as alice:
        await alice.sign_in(name("alice"))
        message = event(1, "👋")
        cut = message.index("👋".encode()) + 2
        alice.ws.transport.write(frame(TEXT, message[:cut], fin=False) + frame(CONTINUATION, message[cut:]))
        await alice.answer(1)


async def test_a_ping_between_parts_is_answered_and_the_message_whole(server: Server, name: Name) -> None:
    async with Websocket(server) as alice:
        await alice.sign_in(name("alice"))
        message = event(1)
        alice.ws.transport.write(frame(TEXT, message[:5], fin=False))
        await (await alice.ws.ping(b"are you there?"))
        alice.ws.transport.write(frame(PONG, b"unasked") + frame(CONTINUATION, message[5:]))
        await alice.answer(1)


async def test_several_frames_that_come_at_once_are_taken_in_order(server: Server, name: Name) -> None:
    async with Websocket(server) as alice:
        await alice.sign_in(name("alice"))
        alice.ws.transport.write(b"".join(frame(TEXT, event(number)) for number in range(1, 101)))
        await alice.answer(100)
        assert [ack_id for ack_id in alice.acks if ack_id and ack_id <= 100] == list(range(1, 101))


async def test_a_frame_that_comes_byte_by_byte_is_taken(server: Server, name: Name) -> None:
    async with Websocket(server) as alice:
        await alice.sign_in(name("alice"))
        for byte in frame(TEXT, event(1)):
            alice.ws.transport.write(bytes([byte]))
            await asyncio.sleep(0)
        await alice.answer(1)


WRONG: dict[str, tuple[bytes, int]] = {
    "text that is not UTF-8": (frame(TEXT, b'42["\xff"]'), 1007),
    "parts that are not UTF-8": (frame(TEXT, b'42["\xf0', fin=False) + frame(CONTINUATION, b'"]'), 1007),
    "half a surrogate pair": (frame(TEXT, b'42["\xed\xa0\x80"]'), 1007),
    "no mask": (frame(TEXT, b"2", masked=False), 1002),
    "RSV1": (frame(TEXT, b"2", rsv=4), 1002),
    "RSV2": (frame(TEXT, b"2", rsv=2), 1002),
    "RSV3 of a ping": (frame(PING, b"2", rsv=1), 1002),
    "opcode 3": (frame(3, b"2"), 1002),
    "opcode 11": (frame(11, b"2"), 1002),
    "a part of nothing": (frame(CONTINUATION, b"2"), 1002),
    "a message in a message": (frame(TEXT, b"4", fin=False) + frame(TEXT, b"2"), 1002),
    "a ping in parts": (frame(PING, b"2", fin=False), 1002),
    "a long ping": (frame(PING, bytes(126)), 1002),
    "half a close code": (frame(CLOSE, b"\x03"), 1002),
    "close code 999": (frame(CLOSE, struct.pack("!H", 999)), 1002),
    "close code 1005": (frame(CLOSE, struct.pack("!H", 1005)), 1002),
    "a length that promises too much": (header(TEXT, 2**40), 1009),
    "parts that grow too large": (
        frame(TEXT, HALF, fin=False) + frame(CONTINUATION, HALF, fin=False) + frame(CONTINUATION, b"1"),
        1009,
    ),
}


@pytest.mark.parametrize(("data", "code"), WRONG.values(), ids=WRONG)
async def test_a_wrong_frame_closes_the_connection(
    server: Server, name: Name, data: bytes, code: int
) -> None:
    async with Websocket(server) as bystander, Websocket(server) as mallory:
        await bystander.sign_in(name("bystander"))
        await mallory.sign_in(name("mallory"))
        mallory.ws.transport.write(data)
        assert await mallory.closed() == code
        await bystander.assert_alive()


async def test_an_oversized_length_closes_the_connection(server: Server, name: Name) -> None:
    async with Websocket(server) as mallory:
        await mallory.sign_in(name("mallory"))
        mallory.ws.transport.write(header(TEXT, 2**63))
        assert await mallory.closed() == server.expected(edge=1002, stock=1009)


@pytest.mark.parametrize(
    ("payload", "code"),
    [(struct.pack("!H", 1000), 1000), (struct.pack("!H", 3001) + b"bye", 3001)],
    ids=["1000", "3001"],
)
async def test_a_close_frame_is_answered(server: Server, name: Name, payload: bytes, code: int) -> None:
    async with Websocket(server) as alice:
        await alice.sign_in(name("alice"))
        alice.ws.transport.write(frame(CLOSE, payload) + frame(TEXT, event(1)))
        assert await alice.closed() == code
        assert 1 not in alice.acks


async def test_a_close_frame_without_a_code_is_answered(server: Server, name: Name) -> None:
    async with Websocket(server) as alice:
        await alice.sign_in(name("alice"))
        alice.ws.transport.write(frame(CLOSE))
        assert await alice.closed() == server.expected(edge=1000, stock=1005)
