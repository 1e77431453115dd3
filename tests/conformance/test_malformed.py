"""Malformed packets: which connections survive them. Other clients never notice.

The edge ends a connection whose client breaks the protocol, as Node.js servers do; stock python-socketio
often goes on. Other clients are served before and after.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Literal

import pytest

from tests.conformance.connections import NOOP, Closed, Connection, Polling, Websocket
from tests.conformance.servers import Server
from tests.conftest import Name

Transport = type[Polling] | type[Websocket]
Fate = Literal["goes on", "is told", "closed", "is told and closed", "waits"]
"""What becomes of a connection: it is closed or goes on, either with an `error` event or without; or it takes
all that follows for attachments. Pairs are for the edge, and for stock."""

CLOSED: tuple[Fate, Fate] = ("closed", "closed")
"""Stock's handler fails and takes the connection with it."""
STRANGE: tuple[Fate, Fate] = ("closed", "goes on")
"""Stock ignores it, or logs an error that it does not report to the client."""
IGNORED: tuple[Fate, Fate] = ("goes on", "goes on")
NO_EVENT: tuple[Fate, Fate] = ("is told and closed", "goes on")
REFUSED: tuple[Fate, Fate] = ("is told", "goes on")

LAST = 999
"""Ack id of an event that is sent after the others."""


@pytest.fixture
async def bystander(server: Server, name: Name) -> AsyncIterator[Websocket]:
    """Another user, who is served before and after."""
    async with Websocket(server) as bystander:
        await bystander.sign_in(name("bystander"))
        await bystander.assert_alive()
        yield bystander
        await bystander.assert_alive()


async def fate_of(connection: Connection, *packets: str | bytes) -> Fate:
    """Return what happens to a connection on which these packets are sent. It is read meanwhile."""
    # Stock answers an upgrade even on a websocket: the only packet it does not take for an attachment.
    probe = ["5"] if connection.server.kind == "stock" else []
    received = asyncio.create_task(
        connection.until(lambda: LAST in connection.acks or (probe and NOOP in connection.packets))
    )
    try:
        await connection.send(*packets)
        await connection.send(f'42{LAST}["list_chats",{{}}]', *probe)
        await received
    except Closed:
        with suppress(Closed):
            await received
        return "is told and closed" if connection.events("error") else "closed"
    if LAST not in connection.acks:
        return "waits"
    return "is told" if connection.events("error") else "goes on"


FRAMES: dict[str, tuple[str | bytes, tuple[Fate, Fate]]] = {
    "a letter": ("x", CLOSED),
    "a superscript": ("²", CLOSED),
    "type 7": ("7", STRANGE),
    "type 8": ("8", STRANGE),
    "type 9": ("9", STRANGE),
    "open": ("0", IGNORED),
    "open with data": ('0{"sid":"x"}', IGNORED),
    "deep open": ("0" + "[" * 100_000, ("goes on", "closed")),
    "ping": ("2", STRANGE),
    "probe": ("2probe", STRANGE),
    "pong with data": ("3probe", IGNORED),
    "noop": ("6", IGNORED),
    "no message": ("4", STRANGE),
    "binary": (b"\x00\x01", STRANGE),
    "empty binary": (b"", STRANGE),
    "binary text": (b'2["list_chats",{}]', STRANGE),
    "binary attachment header": (b"451-[]", STRANGE),
    "message type 7": ("47", STRANGE),
    "message type 8": ('48["list_chats",{}]', STRANGE),
    "message type 9": ("49", STRANGE),
    "message of no type": ('4["list_chats",{}]', STRANGE),
    "message of letters": ("4abc", STRANGE),
    "message of blank type": ("4 ", STRANGE),
    "the server's own kind": ('44{"message":"x"}', STRANGE),
    "event without data": ("42", NO_EVENT),
    "event with an id only": ("4217", NO_EVENT),
    "event with letters for an id": ('42abc["list_chats",{}]', NO_EVENT),
    "empty object as an event": ("42{}", NO_EVENT),
    "event of an object": ('42{"list_chats":{}}', NO_EVENT),
    "event of a string": ('42"list_chats"', NO_EVENT),
    "event of null": ("42null", NO_EVENT),
    "event of a number": ("42 5", NO_EVENT),
    "event of no name": ("42[{},{}]", NO_EVENT),
    "event of null as the name": ("42[null,{}]", NO_EVENT),
    "empty event": ("42[]", NO_EVENT),
    "unfinished event": ('42["list_chats",{', NO_EVENT),
    "event and more": ('42["list_chats",{}] and more', NO_EVENT),
    "event in single quotes": ("42['list_chats']", NO_EVENT),
    "deep event": ('42["list_chats",' + "[" * 20_000 + "]" * 20_000 + "]", REFUSED),
    "unfinished deep event": ("42" + "[" * 60_000, NO_EVENT),
    "large object": ('42{"a":"' + "x" * 70_000 + '"}', NO_EVENT),
    "large text": ('42"' + "x" * 70_000 + '"', NO_EVENT),
    "deep object": ('42{"a":' + "[" * 40 + "]" * 40 + "}", NO_EVENT),
    "an id without end": ("42" + "9" * 200 + '["list_chats",{}]', NO_EVENT),
    "an id of odd digits": ('42²["list_chats",{}]', NO_EVENT),
    "negative attachments": ('45-1-["list_chats",{}]', STRANGE),
    "too many attachments": ('4512345678901-["list_chats",{}]', STRANGE),
    "attachments that never come": (
        '452-["list_chats",{"_placeholder":true,"num":0}]',
        ("is told and closed", "waits"),
    ),
    "a billion attachments": ('451999999999-["list_chats",{}]', ("closed", "waits")),
    "a binary event of an object": ("451-{}", ("is told and closed", "waits")),
    "a binary event without a name": ("451-[true]", ("is told and closed", "waits")),
    "an unfinished binary event": ('451-["list_chats"', NO_EVENT),
    "connect with an array": ("40[]", STRANGE),
    "connect with a text": ('40"x"', STRANGE),
    "unfinished connect": ("40{", STRANGE),
    "no attachments": ('450-["list_chats",{}]', ("closed", "waits")),
    "ack with attachments": ('461-99999["x"]', ("closed", "waits")),
    "ack without data": ("43", STRANGE),
    "ack with an id only": ("431", STRANGE),
    "ack of an object": ('4399999{"a":1}', STRANGE),
    "unfinished ack": ('4399999["x', STRANGE),
    "disconnect with data": ("41{}", ("closed", "waits")),
    "another namespace's event": ('42/other,["list_chats",{}]', STRANGE),
}
FRAMES_ONLY: dict[str, tuple[str | bytes, tuple[Fate, Fate]]] = {
    "empty": ("", CLOSED),
    "base64": ("bAAEC", STRANGE),
}
"""The same, but only on a websocket: a body may hold Base64, and is never an empty packet."""


@pytest.mark.parametrize(("frame", "fates"), (FRAMES | FRAMES_ONLY).values(), ids=FRAMES | FRAMES_ONLY)
async def test_a_malformed_frame(
    server: Server, bystander: Websocket, name: Name, frame: str | bytes, fates: tuple[Fate, Fate]
) -> None:
    edge, stock = fates
    async with Websocket(server) as mallory:
        await mallory.sign_in(name("mallory"))
        assert await fate_of(mallory, frame) == server.expected(edge=edge, stock=stock)


@pytest.mark.parametrize(("frame", "fates"), FRAMES.values(), ids=FRAMES)
async def test_a_malformed_packet_of_a_poll_has_the_same_fate(
    edge: Server, name: Name, frame: str | bytes, fates: tuple[Fate, Fate]
) -> None:
    async with Polling(edge) as mallory:
        await mallory.sign_in(name("mallory"))
        assert await fate_of(mallory, frame) == fates[0]


BEFORE_CONNECT: dict[str, str] = {
    "an event": '421["list_chats",{}]',
    "an event without an id": '42["send_message",{"username":"bob","text":"hi"}]',
    "a binary event": '451-["list_chats",{"_placeholder":true,"num":0}]',
    "an ack": '431["x"]',
    "a binary ack": '461-1["x"]',
    "a disconnect": "41",
    "an event of another namespace": '42/other,["list_chats",{}]',
}
"""Sound packets that only a signed-in client may send."""
HARMLESS = ("0", "3", "6")
"""How packets begin that mean nothing to a server, or only that the client is alive."""


FIRST = {name: frame for name, (frame, _) in FRAMES.items()} | BEFORE_CONNECT


@pytest.mark.parametrize("frame", FIRST.values(), ids=FIRST)
async def test_a_client_that_begins_with_anything_but_connect_is_closed_at_once(
    edge: Server, transport: Transport, name: Name, frame: str | bytes
) -> None:
    connect = f"40{json.dumps(edge.auth(name('mallory')))}"
    async with transport(edge) as mallory:
        is_harmless = isinstance(frame, str) and frame.startswith(HARMLESS)
        assert await fate_of(mallory, frame, connect) == ("goes on" if is_harmless else "closed")


BAD_AUTH = {
    "unfinished": '{"token":',
    "an array": "[]",
    "a string": '"token"',
    "a number": " 5",
    "null": "null",
}


@pytest.mark.parametrize("auth", BAD_AUTH.values(), ids=BAD_AUTH)
async def test_a_connect_with_anything_but_an_object_is_refused_and_closed(
    edge: Server, transport: Transport, name: Name, auth: str
) -> None:
    async with transport(edge) as mallory:
        assert await fate_of(mallory, f"40{auth}", f"40{json.dumps(edge.auth(name('mallory')))}") == "closed"
        assert mallory.messages[0].data["data"]["code"] == "unauthorized"


async def test_attachments_after_all(server: Server, bystander: Websocket, name: Name) -> None:
    async with Websocket(server) as mallory:
        await mallory.sign_in(name("mallory"))
        await mallory.send('451-1["list_chats",{"_placeholder":true,"num":0}]', b"one")
        # The edge has no binary events and refuses them at the first part.
        assert (await mallory.answer(1))["success"] is server.expected(edge=False, stock=True)
        await mallory.assert_alive()


@pytest.mark.parametrize("count", [1, 2, 10])
async def test_only_announced_attachments_are_accepted(
    edge: Server, transport: Transport, name: Name, count: int
) -> None:
    async with transport(edge) as mallory:
        await mallory.sign_in(name("mallory"))
        header = f'45{count}-["list_chats",{{"_placeholder":true,"num":0}}]'
        await mallory.send(header, *[b"one"] * count)
        await mallory.assert_alive()
        assert (await fate_of(mallory, b"another")).endswith("closed")


BODIES = {
    "empty": b"",
    "a letter": b"x",
    "separators": b"\x1e\x1e",
    "no UTF-8": b"\xff\xfe",
    "half a surrogate pair": b"4\xed\xa0\x80",
    "bad base64": b"b!!!",
    "base64": b"bAAEC",
    "type 9": b"9",
    "a form": b"d=4",
    "the framing of protocol 3": b'20:42["list_chats",{}]',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_malformed_body_closes_the_session(
    server: Server, bystander: Websocket, name: Name, body: bytes
) -> None:
    async with Polling(server) as mallory:
        await mallory.sign_in(name("mallory"))
        if server.kind == "edge":
            assert await mallory.post_to_the_end(body) == 400
        elif body != BODIES["the framing of protocol 3"]:
            # Stock accepts it and ignores it.
            answer = await mallory.post_body(body)
            assert (answer.status_code, answer.text) == (200, "OK")
            await mallory.assert_alive()


@pytest.mark.parametrize("bad", ["x", "", "9", "42[", "49", "42/other,[]"])
async def test_a_bad_packet_among_good_ones_closes_the_session(edge: Server, name: Name, bad: str) -> None:
    async with Polling(edge) as mallory:
        await mallory.sign_in(name("mallory"))
        packets = ('421["list_chats",{}]', bad, '422["list_chats",{}]')
        assert await mallory.post_to_the_end("\x1e".join(packets).encode()) == 400
        assert 2 not in mallory.acks


async def test_a_body_of_many_packets(server: Server, bystander: Websocket, name: Name) -> None:
    async with Polling(server) as alice:
        await alice.sign_in(name("alice"))
        await alice.send(*(f'42{number}["list_chats",{{}}]' for number in range(17)))
        await alice.assert_alive()
        # Stock discards a request of more than 16 packets and answers OK.
        taken = [ack_id for ack_id in alice.acks if ack_id in range(17)]
        assert taken == server.expected(edge=[*range(17)], stock=[])
