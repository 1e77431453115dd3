"""The official test suites of Engine.IO 4 and Socket.IO 5, adapted to a chat (see official.py)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import pytest

from tests.conformance.connections import Closed, Connection, Polling, Websocket, open_websocket
from tests.conformance.official import ADAPTED, CASES, NOT_APPLICABLE
from tests.conformance.servers import Server
from tests.conftest import Name

Test = TypeVar("Test", bound=Callable[..., Any])
POLLING = "EIO=4&transport=polling"
WEBSOCKET = "EIO=4&transport=websocket"
SEPARATOR = "\x1e"

shown: set[str] = set()


def official(*names: str) -> Callable[[Test], Test]:
    """Say which official cases a test shows."""
    assert not shown & set(names)
    shown.update(names)
    return lambda test: test


def test_every_official_case_is_shown_or_does_not_apply() -> None:
    assert not shown & NOT_APPLICABLE.keys()
    assert shown | NOT_APPLICABLE.keys() == CASES
    assert all(reason.endswith(".") for reason in [*NOT_APPLICABLE.values(), *ADAPTED.values()])


async def request(server: Server, method: str, query: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        return await http.request(method, f"{server.url}/socket.io/?{query}")


async def assert_no_session(server: Server, query: str) -> None:
    """Assert that a websocket is not opened."""
    with pytest.raises(Closed):
        await open_websocket(server, query)


def assert_terms(connection: Connection, upgrades: list[str]) -> None:
    terms = connection.handshake
    assert isinstance(terms.pop("sid"), str)
    assert terms == {
        "upgrades": upgrades,
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    }


# Handshake.


@official(
    "handshake / HTTP long-polling / successfully opens a session",
    "handshake / HTTP long-polling / should successfully open a session",
)
async def test_long_polling_opens_a_session(edge: Server) -> None:
    async with Polling(edge) as client:
        assert_terms(client, ["websocket"])


@official(
    "handshake / WebSocket / successfully opens a session",
    "handshake / WebSocket / should successfully open a session",
)
async def test_a_websocket_opens_a_session(edge: Server) -> None:
    async with Websocket(edge) as client:
        assert_terms(client, [])


@official(
    "handshake / HTTP long-polling / fails with an invalid 'EIO' query parameter",
    "handshake / HTTP long-polling / fails with an invalid 'transport' query parameter",
    "handshake / HTTP long-polling / should fail with an invalid 'EIO' query parameter",
    "handshake / HTTP long-polling / should fail with an invalid 'transport' query parameter",
)
@pytest.mark.parametrize(
    "query", ["transport=polling", "EIO=abc&transport=polling", "EIO=4", "EIO=4&transport=abc"]
)
async def test_long_polling_needs_its_parameters(edge: Server, query: str) -> None:
    assert (await request(edge, "GET", query)).status_code == 400


@official(
    "handshake / WebSocket / fails with an invalid 'EIO' query parameter",
    "handshake / WebSocket / fails with an invalid 'transport' query parameter",
    "handshake / WebSocket / should fail with an invalid 'EIO' query parameter",
    "handshake / WebSocket / should fail with an invalid 'transport' query parameter",
)
@pytest.mark.parametrize(
    "query", ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc"]
)
async def test_a_websocket_needs_its_parameters(edge: Server, query: str) -> None:
    await assert_no_session(edge, query)


@official(
    "handshake / HTTP long-polling / fails with an invalid request method",
    "handshake / HTTP long-polling / should fail with an invalid request method",
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_only_get_opens_a_session(edge: Server, method: str) -> None:
    assert (await request(edge, method, POLLING)).status_code == 400


# Messages of Engine.IO.


@asynccontextmanager
async def signed_in(
    transport: type[Polling] | type[Websocket], server: Server, name: str
) -> AsyncIterator[Any]:
    async with transport(server) as client:
        await client.sign_in(name)
        yield client


@official("message / HTTP long-polling / sends and receives a payload containing one plain text packet")
async def test_a_payload_of_one_packet(edge: Server, name: Name) -> None:
    async with signed_in(Polling, edge, name("alice")) as client:
        answer = await client.post_body(b'421["list_chats",{}]')
        assert (answer.status_code, answer.text) == (200, "ok")
        assert (await client.answer(1))["success"]


@official("message / HTTP long-polling / sends and receives a payload containing several plain text packets")
async def test_a_payload_of_several_packets(edge: Server, name: Name) -> None:
    async with signed_in(Polling, edge, name("alice")) as client:
        body = SEPARATOR.join(f'42{number}["list_chats",{{}}]' for number in (1, 2, 3))
        assert (await client.post_body(body.encode())).text == "ok"
        for number in (1, 2, 3):
            assert (await client.answer(number))["success"]


@official(
    "message / HTTP long-polling / sends and receives a payload containing plain text and binary packets",
    "message / WebSocket / sends and receives a binary packet",
    "message / should send a packet with binary attachments",
    "message / should send a packet with binary attachments and an ack",
)
async def test_a_binary_event_is_refused_and_the_session_goes_on(
    edge: Server, transport: type[Polling] | type[Websocket], name: Name
) -> None:
    async with signed_in(transport, edge, name("alice")) as client:
        holes = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
        await client.send(f'452-["list_chats",{holes}]', bytes([1, 2, 3]), bytes([4, 5, 6]))
        assert (await client.expect_event("error"))["code"] == "invalid_payload"
        await client.send(f'452-789["list_chats",{holes}]', bytes([1, 2, 3]), bytes([4, 5, 6]))
        assert (await client.answer(789))["code"] == "invalid_payload"
        await client.assert_alive()


@official("message / HTTP long-polling / closes the session upon invalid packet format")
async def test_long_polling_ends_with_what_is_no_packet(edge: Server) -> None:
    async with Polling(edge) as client:
        assert (await client.post_body(b"abc")).status_code == 400
        assert (await client.poll()).status_code == 400


@official("message / HTTP long-polling / closes the session upon duplicate poll requests")
async def test_long_polling_ends_with_a_second_poll(edge: Server) -> None:
    async with Polling(edge) as client:
        answers = await asyncio.gather(client.poll(), client.poll())
        first, second = sorted(answers, key=lambda answer: answer.status_code)
        assert (first.status_code, first.text) == (200, "1")
        assert second.status_code == 400
        assert (await client.poll()).status_code == 400


@official(
    "message / WebSocket / sends and receives a plain text packet",
    "message / should send a plain-text packet",
    "message / should send a plain-text packet with an ack",
)
async def test_a_packet_over_a_websocket(edge: Server, name: Name) -> None:
    async with signed_in(Websocket, edge, name("alice")) as client:
        note = json.dumps({"username": name("alice"), "text": "hello"})
        await client.send(f'42["send_message",{note}]')
        assert (await client.expect_event("message_sent"))["text"] == "hello"
        await client.send(f'42456["send_message",{note}]')
        assert (await client.answer(456))["message"]["text"] == "hello"


@official("message / WebSocket / closes the session upon invalid packet format")
async def test_a_websocket_ends_with_what_is_no_packet(edge: Server) -> None:
    async with Websocket(edge) as client:
        await client.send("abc")
        await client.closed()


# Heartbeat.


@official(
    "heartbeat / HTTP long-polling / sends ping/pong packets",
    "heartbeat / HTTP long-polling / should send ping/pong packets",
    "heartbeat / WebSocket / sends ping/pong packets",
    "heartbeat / WebSocket / should send ping/pong packets",
)
async def test_pings_are_answered_again_and_again(hasty_edge: Server) -> None:
    async def answered(transport: type[Polling] | type[Websocket]) -> None:
        async with transport(hasty_edge, answers_pings=False) as client:
            for count in range(1, 4):
                await client.expect("2", count)
                await client.send("3")
            assert [packet for packet in client.packets if packet[0] != "0"] == ["2", "2", "2"]

    await asyncio.gather(answered(Polling), answered(Websocket))


@official(
    "heartbeat / HTTP long-polling / closes the session upon ping timeout",
    "heartbeat / HTTP long-polling / should close the session upon ping timeout",
    "heartbeat / WebSocket / closes the session upon ping timeout",
    "heartbeat / WebSocket / should close the session upon ping timeout",
)
async def test_a_client_that_answers_no_ping_is_closed(hasty_edge: Server) -> None:
    async with (
        Polling(hasty_edge, answers_pings=False) as polling,
        Websocket(hasty_edge, answers_pings=False) as websocket,
    ):
        # Both were opened before the same ping.
        await websocket.closed()
        assert await polling.closed() == 400


# Close and upgrade.


@official(
    "close / HTTP long-polling / forcefully closes the session",
    "close / HTTP long-polling / should forcefully close the session",
)
async def test_a_client_closes_long_polling(edge: Server, name: Name) -> None:
    async with signed_in(Polling, edge, name("alice")) as client:
        await client.assert_alive()
        before = len(client.packets)
        closed = asyncio.create_task(client.closed())
        assert (await client.post_body(b"1")).status_code == 200
        assert await closed == 400
        # Nothing, if the close was there before the poll.
        assert client.packets[before:] in ([], ["6"])


@official(
    "close / WebSocket / forcefully closes the session",
    "close / WebSocket / should forcefully close the session",
)
async def test_a_client_closes_a_websocket(edge: Server) -> None:
    async with Websocket(edge) as client:
        await client.send("1")
        await client.closed()


@official(
    "upgrade / successfully upgrades from HTTP long-polling to WebSocket",
    "upgrade / should successfully upgrade from HTTP long-polling to WebSocket",
    "upgrade / ignores HTTP requests with same sid after upgrade",
    "upgrade / should ignore HTTP requests with same sid after upgrade",
    "upgrade / ignores WebSocket connection with same sid after upgrade",
    "upgrade / should ignore WebSocket connection with same sid after upgrade",
)
async def test_a_client_upgrades_once(edge: Server, name: Name) -> None:
    async with Polling(edge) as polling, Websocket(edge, sid=polling.sid) as websocket:
        await websocket.send("2probe")
        assert await websocket.expect("3") == "3probe"
        noop = await polling.poll()
        assert (noop.status_code, noop.text) == (200, "6")
        await websocket.send("5")
        await websocket.sign_in(name("alice"))
        assert (await polling.poll()).status_code == 400
        await websocket.assert_alive()
        await assert_no_session(edge, f"{WEBSOCKET}&sid={polling.sid}")
        await websocket.assert_alive()


# Socket.IO.


@official(
    "connect / should allow connection to the main namespace",
    "connect / should allow connection to the main namespace with a payload",
)
async def test_a_client_connects_with_a_token_and_not_without(edge: Server, name: Name) -> None:
    async with Websocket(edge) as client:
        await client.send("40")
        refusal = json.loads((await client.expect("44"))[2:])
        assert refusal["data"]["code"] == "unauthorized"
        await client.send(f"40{json.dumps(edge.auth(name('alice')))}")
        assert list(json.loads((await client.expect("40"))[2:])) == ["sid"]


@official("connect / should disallow connection to an unknown namespace")
async def test_an_unknown_namespace_is_refused(edge: Server) -> None:
    async with Websocket(edge) as client:
        await client.send("40/random")
        refusal = json.loads((await client.expect("44/random,")).removeprefix("44/random,"))
        assert refusal["message"].startswith("Invalid namespace")


@official("connect / should disallow connection with an invalid handshake")
async def test_a_client_begins_with_connect(edge: Server) -> None:
    async with Websocket(edge) as client:
        await client.send("4abc")
        await client.closed()


@official("connect / should close the connection if no handshake is received")
async def test_a_client_that_never_connects_is_closed(hasty_edge: Server) -> None:
    async with Websocket(hasty_edge) as client:
        await client.closed()


@official("disconnect / should disconnect from the main namespace")
async def test_a_client_disconnects_and_is_still_pinged(hasty_edge: Server, name: Name) -> None:
    async with signed_in(Websocket, hasty_edge, name("alice")) as client:
        await client.send("41")
        await client.expect("2")


@official(
    "message / should close the connection upon invalid format (unknown packet type)",
    "message / should close the connection upon invalid format (invalid payload format)",
    "message / should close the connection upon invalid format (invalid ack id)",
)
@pytest.mark.parametrize("packet", ["4abc", "42{}", '42abc["list_chats",1,"2",{"3":[false]}]'])
async def test_an_invalid_format_closes_the_connection(edge: Server, name: Name, packet: str) -> None:
    async with signed_in(Websocket, edge, name("alice")) as client:
        await client.send(packet)
        await client.closed()
