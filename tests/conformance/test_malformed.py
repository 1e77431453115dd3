"""Malformed packets: which connections survive them. Other clients never notice."""

import json
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from tests.conformance.connections import NOOP, Closed, Connection, Polling, Websocket
from tests.conformance.servers import Server
from tests.conftest import Name

Fate = Literal["goes on", "is told", "waits"] | int
"""What becomes of a connection: it goes on; it goes on and gets an `error` event; it takes all that follows
for attachments; or it is closed with this code. Pairs are for the edge, and for stock."""

CLOSED: tuple[Fate, Fate] = (1000, 1006)
"""Stock's handler fails and takes the connection with it."""
STRANGE: tuple[Fate, Fate] = (1000, "goes on")
"""Stock ignores unknown types, and reads base64 as a binary message."""
IGNORED: tuple[Fate, Fate] = ("goes on", "goes on")
REFUSED: tuple[Fate, Fate] = ("is told", "goes on")
"""Stock logs an error and does not report it to the client."""


@pytest.fixture
async def bystander(server: Server, name: Name) -> AsyncIterator[Websocket]:
    """Another user, who is served before and after."""
    async with Websocket(server) as bystander:
        await bystander.sign_in(name("bystander"))
        await bystander.assert_alive()
        yield bystander
        await bystander.assert_alive()


async def fate_of(connection: Connection) -> Fate:
    """Return what happens to a connection. An `error` event, if any, arrives before the next answer."""
    ack_id = await connection.post("list_chats", {})
    # Stock answers an upgrade even on a websocket: the only packet it does not take for an attachment.
    if connection.server.kind == "stock":
        await connection.send("5")
    try:
        await connection.until(lambda: ack_id in connection.acks or NOOP in connection.packets)
    except Closed as closed:
        return closed.code or 0
    if ack_id not in connection.acks:
        return "waits"
    return "is told" if connection.events("error") else "goes on"


FRAMES: dict[str, tuple[str | bytes, tuple[Fate, Fate]]] = {
    "empty": ("", CLOSED),
    "a letter": ("x", CLOSED),
    "a superscript": ("²", CLOSED),
    "base64": ("bAAEC", STRANGE),
    "type 7": ("7", STRANGE),
    "type 8": ("8", STRANGE),
    "type 9": ("9", STRANGE),
    "open": ("0", IGNORED),
    "open with data": ('0{"sid":"x"}', IGNORED),
    "deep open": ("0" + "[" * 100_000, ("goes on", 1006)),
    "ping": ("2", IGNORED),
    "probe": ("2probe", IGNORED),
    "pong with data": ("3probe", IGNORED),
    "noop": ("6", IGNORED),
    "no message": ("4", REFUSED),
    "binary": (b"\x00\x01", IGNORED),
    "empty binary": (b"", REFUSED),
    "binary text": (b'2["list_chats",{}]', IGNORED),
    "binary attachment header": (b"451-[]", IGNORED),
    "message type 7": ("47", REFUSED),
    "message type 8": ('48["list_chats",{}]', REFUSED),
    "message type 9": ("49", REFUSED),
    "message of no type": ('4["list_chats",{}]', REFUSED),
    "message of blank type": ("4 ", REFUSED),
    "the server's own kind": ('44{"message":"x"}', REFUSED),
    "event without data": ("42", REFUSED),
    "event with an id only": ("4217", REFUSED),
    "event of an object": ('42{"list_chats":{}}', REFUSED),
    "event of a string": ('42"list_chats"', REFUSED),
    "event of null": ("42null", REFUSED),
    "event of a number": ("42 5", REFUSED),
    "empty event": ("42[]", REFUSED),
    "unfinished event": ('42["list_chats",{', REFUSED),
    "event and more": ('42["list_chats",{}] and more', REFUSED),
    "event in single quotes": ("42['list_chats']", REFUSED),
    "deep event": ('42["list_chats",' + "[" * 20_000 + "]" * 20_000 + "]", REFUSED),
    "unfinished deep event": ("42" + "[" * 60_000, REFUSED),
    "an id without end": ("42" + "9" * 200 + '["list_chats",{}]', REFUSED),
    "an id of odd digits": ('42²["list_chats",{}]', REFUSED),
    "negative attachments": ('45-1-["list_chats",{}]', REFUSED),
    "too many attachments": ('4512345678901-["list_chats",{}]', REFUSED),
    "attachments that never come": ('452-["list_chats",{"_placeholder":true,"num":0}]', ("is told", "waits")),
    "a billion attachments": ('451999999999-["list_chats",{}]', ("is told", "waits")),
    "no attachments": ('450-["list_chats",{}]', ("is told", "waits")),
    "ack with attachments": ('461-99999["x"]', ("goes on", "waits")),
    "unfinished ack": ('4399999["x', IGNORED),
    "unfinished connect": ('40{"token":', IGNORED),
}


@pytest.mark.parametrize(("frame", "fates"), FRAMES.values(), ids=FRAMES)
async def test_a_malformed_frame(
    server: Server, bystander: Websocket, name: Name, frame: str | bytes, fates: tuple[Fate, Fate]
) -> None:
    edge, stock = fates
    async with Websocket(server) as mallory:
        await mallory.sign_in(name("mallory"))
        await mallory.send(frame)
        assert await fate_of(mallory) == server.expected(edge=edge, stock=stock)


@pytest.mark.parametrize(("frame", "fates"), FRAMES.values(), ids=FRAMES)
async def test_a_malformed_first_frame(
    server: Server, bystander: Websocket, name: Name, frame: str | bytes, fates: tuple[Fate, Fate]
) -> None:
    async with Websocket(server) as mallory:
        await mallory.send(frame, f"40{json.dumps(server.auth(name('mallory')))}")
        try:
            await mallory.expect_event("test_message")
            fate: Fate = "goes on"
        except Closed as closed:
            fate = closed.code or 0
        expected = server.expected(edge=fates[0], stock=fates[1])
        # Clients that are not signed in are told nothing.
        assert fate == (expected if isinstance(expected, int) else "goes on")


async def test_attachments_after_all(server: Server, bystander: Websocket, name: Name) -> None:
    async with Websocket(server) as mallory:
        await mallory.sign_in(name("mallory"))
        await mallory.send('451-1["list_chats",{"_placeholder":true,"num":0}]', b"one")
        # The edge has no binary events and refuses them at the first part.
        assert (await mallory.answer(1))["success"] is server.expected(edge=False, stock=True)
        await mallory.assert_alive()


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
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_malformed_body_is_accepted_and_ignored(
    server: Server, bystander: Websocket, name: Name, body: bytes
) -> None:
    async with Polling(server) as mallory:
        await mallory.sign_in(name("mallory"))
        answer = await mallory.post_body(body)
        assert (answer.status_code, answer.text) == (200, "OK")
        await mallory.assert_alive()


@pytest.mark.parametrize("body", [b"0", b"2", b"6", b"2probe", b'20:42["list_chats",{}]'], ids=repr)
async def test_a_packet_that_only_servers_send_ends_a_polling_connection(
    server: Server, bystander: Websocket, name: Name, body: bytes
) -> None:
    async with Polling(server) as mallory:
        await mallory.sign_in(name("mallory"))
        assert await mallory.post_to_the_end(body) == 400


async def test_a_bad_packet_between_good_ones_in_one_body(
    server: Server, bystander: Websocket, name: Name
) -> None:
    async with Polling(server) as mallory:
        await mallory.sign_in(name("mallory"))
        await mallory.send('421["list_chats",{}]', "42[", "49", '422["list_chats",{}]')
        await mallory.answer(2)
        assert 1 in mallory.acks


@pytest.mark.parametrize(("bad", "answered"), [("x", []), ("", []), ("9", [1])])
async def test_a_malformed_packet_in_a_body_takes_others_with_it(
    server: Server, bystander: Websocket, name: Name, bad: str, answered: list[int]
) -> None:
    async with Polling(server) as mallory:
        await mallory.sign_in(name("mallory"))
        await mallory.send('421["list_chats",{}]', bad, '422["list_chats",{}]')
        await mallory.assert_alive()
        assert [ack_id for ack_id in mallory.acks if ack_id in {1, 2}] == answered


async def test_a_body_of_many_packets(server: Server, bystander: Websocket, name: Name) -> None:
    async with Polling(server) as alice:
        await alice.sign_in(name("alice"))
        await alice.send(*(f'42{number}["list_chats",{{}}]' for number in range(17)))
        await alice.assert_alive()
        # Stock discards a request of more than 16 packets and answers OK.
        taken = [ack_id for ack_id in alice.acks if ack_id in range(17)]
        assert taken == server.expected(edge=[*range(17)], stock=[])
