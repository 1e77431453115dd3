"""Frames: what reaches the handler, in which order, and what each costs the client."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from socket_edge.connection.api import Binary, DisconnectReason, EventData, Malformed, State
from socket_edge.connection.bounds import ACK_BYTES, STRANGER_BYTES
from tests.conformance.connections import TRANSPORTS, Polling, Websocket
from tests.unit.socket_edge.connection.serving import Person, Served, serve, sign_in

EVERY_TRANSPORT = pytest.mark.parametrize("transport", TRANSPORTS)
ALICE = Person("alice")
LAST = '42["last"]'


async def everything_read(served: Served, client: Polling | Websocket) -> None:
    """Wait until the server has read everything that the client has sent so far."""
    count = len(served.handler.events)
    await client.send(LAST)
    await served.handler.until(
        lambda: [data for *_, data in served.handler.events[count:]][-1:] == [LAST[2:]]
    )


async def cost_of(served: Served, client: Polling | Websocket, *packets: str) -> list[int]:
    """Return what is metered when the client sends these packets on a websocket."""
    await everything_read(served, client)
    served.handler.metered.clear()
    await client.send(*packets)
    await everything_read(served, client)
    return served.handler.metered


@EVERY_TRANSPORT
async def test_an_event_reaches_the_handler_as_the_text_that_was_sent(transport: str) -> None:
    async with serve() as served, served.client(transport) as (client, _):
        await client.send('42["sync", {"a" : 1e3}]', '427["чат🙂",{}]', '42["connect"]', '42[ "disconnect"]')
        await served.handler.until(lambda: len(served.handler.events) == 4)
        assert served.handler.events == [
            (ALICE, None, '["sync", {"a" : 1e3}]'),
            (ALICE, 7, '["чат🙂",{}]'),
            (ALICE, None, '["connect"]'),
            (ALICE, None, '[ "disconnect"]'),
        ]


@EVERY_TRANSPORT
async def test_a_malformed_packet_reaches_the_handler_as_such(transport: str) -> None:
    async with serve() as served, served.client(transport) as (client, connection):
        await client.send('44"refused"')
        await served.handler.until(lambda: served.handler.events)
        assert served.handler.events == [(ALICE, None, Malformed.PACKET)]
        assert connection.state is State.SIGNED_IN


async def test_an_event_with_attachments_is_marked_and_its_attachments_are_only_metered() -> None:
    async with serve() as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        await client.send('451-["sync",{"_placeholder":true,"num":0}]', b"1234567")
        await everything_read(served, client)
        (_, _, data), _ = served.handler.events
        assert isinstance(data, Binary)


@EVERY_TRANSPORT
async def test_events_and_acks_reach_the_client_as_they_were_rendered(transport: str) -> None:
    async with serve() as served, served.client(transport) as (client, connection):
        connection.send_event("new_message", '{"text":"привет 🙂"}'.encode())
        connection.send_event("new_message", b"{}", 5)
        connection.send_ack(9, b'{"success":true}')
        await client.expect("439")
        assert client.packets[-3:] == [
            '42["new_message",{"text":"привет 🙂"}]',
            '425["new_message",{}]',
            '439[{"success":true}]',
        ]


@EVERY_TRANSPORT
async def test_an_event_before_the_sign_in_is_only_metered(transport: str) -> None:
    async with serve() as served, served.client(transport, None) as (client, _):
        await client.send('42["sync",{}]')
        await served.handler.until(lambda: len('["sync",{}]') in served.handler.metered)
        await sign_in(client, "alice")
        assert served.handler.events == []


async def test_a_slow_event_holds_up_those_behind_it_and_nothing_else() -> None:
    async with (
        serve() as served,
        served.client() as (client, connection),
        served.client(name="bob") as (other, _),
    ):
        may_go_on = asyncio.Event()
        done: list[EventData] = []

        def work(data: EventData) -> Coroutine[Any, Any, None] | None:
            async def wait() -> None:
                await may_go_on.wait()
                done.append(data)

            return wait() if "slow" in str(data) else None

        served.handler.work = work
        await client.send('42["slow 1"]', '42["quick"]', '42["slow 2"]', "431[]", '42["last"]')
        connection.send_event("ping", b"{}", 1)
        await client.expect('421["ping"')
        await other.send('42["others"]')
        await served.handler.until(lambda: len(served.handler.events) == 2)
        assert [data for _, _, data in served.handler.events] == ['["slow 1"]', '["others"]']
        may_go_on.set()
        await served.handler.until(lambda: served.handler.events[-1][2] == '["last"]')
        assert [data for person, _, data in served.handler.events if person == ALICE] == [
            *('["slow 1"]', '["quick"]', '["slow 2"]', '["last"]')
        ]
        assert done == ['["slow 1"]', '["slow 2"]']
        assert served.handler.acks == [(ALICE, 1)]


async def test_an_event_whose_handling_fails_takes_nothing_else_down() -> None:
    async with serve() as served, served.client() as (client, connection):

        def work(data: EventData) -> Coroutine[Any, Any, None] | None:
            async def fail() -> None:
                raise RuntimeError("later")

            if data == '["at once"]':
                raise RuntimeError("at once")
            return fail() if data == '["later"]' else None

        served.handler.work = work
        await client.send('42["at once"]', '42["later"]')
        await everything_read(served, client)
        assert connection.state is State.SIGNED_IN


async def test_a_connection_that_ends_during_slow_work_hands_over_no_more_frames() -> None:
    async with serve() as served, served.client() as (client, connection):
        may_go_on = asyncio.Event()

        async def wait() -> None:
            await may_go_on.wait()

        served.handler.work = lambda data: wait() if data == '["slow"]' else None
        await client.send('42["slow"]', '42["after"]')
        await served.handler.until(lambda: served.handler.events)
        connection.end(DisconnectReason.FLOOD)
        may_go_on.set()
        await served.server.tasks.wait()
        assert [data for _, _, data in served.handler.events] == ['["slow"]']


async def test_an_accepted_event_costs_nothing_beyond_what_the_handler_counts() -> None:
    async with serve() as served, served.client() as (client, _):
        assert await cost_of(served, client, '42["sync",{}]', '427["sync",{}]') == []


async def test_an_ack_that_was_asked_for_is_free_and_any_other_is_metered() -> None:
    async with serve() as served, served.client() as (client, connection):
        connection.send_event("ping", b"{}", 1)
        connection.send_event("new_message", b"{}", 2)
        connection.send_event("user_status", b"{}")
        assert await cost_of(served, client, "431[]", "432[]", "432[]", "4399[1]") == [2, 3]
        assert served.handler.acks == [(ALICE, ack_id) for ack_id in (1, 2, 2, 99)]


async def test_a_large_ack_is_metered_although_it_was_asked_for() -> None:
    async with serve() as served, served.client() as (client, connection):
        connection.send_event("ping", b"{}", 1)
        large = f'["{"x" * ACK_BYTES}"]'
        assert await cost_of(served, client, f"431{large}", "431[]") == [len(large)]


async def test_acks_that_the_last_sign_in_owed_are_not_free_for_the_next() -> None:
    async with serve() as served, served.client() as (client, connection):
        connection.send_event("ping", b"{}", 1)
        await client.send("41")
        await sign_in(client, "bob")
        assert await cost_of(served, client, "431[]") == [2]


async def test_endless_acks_end_the_connection() -> None:
    async with serve() as served, served.client() as (client, connection):
        connection.send_event("ping", b"{}", 1)
        await everything_read(served, client)
        served.handler.allowance = 2
        await client.send("431[]", "432[]", "433[]", "434[]", "435[]")
        assert await client.closed() == 1006
        assert [ack_id for _, ack_id in served.handler.acks] == [1, 2, 3]
        assert served.handler.gone == [(ALICE, DisconnectReason.FLOOD)]


@pytest.mark.parametrize(
    ("packet", "size"),
    [
        *(("3", 0), ("3probe", 0), ("5", 0), ("6", 0)),
        *(("40", 0), ('40{"token":"bob"}', 0), ("41/admin,", 0), ("42/admin,[5]", 3)),
        *(("43[]", 2), ("43/admin,1[5]", 3)),
    ],
)
async def test_every_packet_that_is_not_an_event_is_metered(packet: str, size: int) -> None:
    async with serve() as served, served.client() as (client, connection):
        assert await cost_of(served, client, packet) == [size]
        assert connection.session == ALICE


async def test_pings_and_pongs_of_the_websocket_are_metered_by_their_size() -> None:
    async with serve() as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        await everything_read(served, client)
        served.handler.metered.clear()
        await (await client.ws.ping(b"1234"))
        await client.ws.pong(b"123456")
        await everything_read(served, client)
        assert served.handler.metered == [4, 6]


async def test_each_fragment_is_metered_by_its_size() -> None:
    async with serve() as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        await everything_read(served, client)
        served.handler.metered.clear()
        await client.ws.send(["42[1", '2,"ab"]'])  # followed by an empty last fragment
        await everything_read(served, client)
        assert served.handler.metered == [4, 7, 0]
        assert served.handler.events[1] == (ALICE, None, '[12,"ab"]')


async def test_endless_pings_of_the_websocket_end_the_connection() -> None:
    async with serve() as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        served.handler.allowance = 10
        for _ in range(10):
            await (await client.ws.ping())
        await client.ws.ping()
        assert await client.closed() == 1006
        assert served.handler.gone == [(ALICE, DisconnectReason.FLOOD)]


async def test_endless_fragments_end_the_connection() -> None:
    async with serve() as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        served.handler.allowance = 10
        await client.send(["4"] * 1_000)  # type: ignore[arg-type]
        assert await client.closed() == 1006
        assert served.handler.gone == [(ALICE, DisconnectReason.FLOOD)]


async def test_posts_are_metered() -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        assert isinstance(client, Polling)
        connection.requests_due = 0
        served.handler.metered.clear()
        await client.send('42["sync",{}]')
        assert served.handler.metered == [0]


async def test_requests_for_what_a_client_was_sent_are_free() -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        assert isinstance(client, Polling)
        served.handler.allowance = 0
        for number in range(1, 51):
            connection.send_event("new_message", b"{}", number)
            await client.expect(f"42{number}[")
            await client.send(f"43{number}[]")
        assert connection.state is State.SIGNED_IN


@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_endless_polls_end_the_connection(verb: str) -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        assert isinstance(client, Polling)
        served.handler.allowance = 2
        for _ in range(3):
            connection.send_event("ping", b"{}")
            connection.requests_due = 0
            answer = await (client.poll() if verb == "GET" else client.post_body(b"42[]"))
        assert answer.status_code in {200, 400}
        assert connection.state is State.CLOSED
        assert served.handler.gone == [(ALICE, DisconnectReason.FLOOD)]


async def test_bytes_are_metered_not_characters() -> None:
    async with serve() as served, served.client() as (client, _):
        served.handler.metered.clear()
        await client.send('43["\u4f60\u597d"]')
        await client.send('42["sync",{}]')
        await served.handler.until(lambda: served.handler.events)
        assert served.handler.metered == [len('["\u4f60\u597d"]'.encode())]


@pytest.mark.parametrize("body", [b"", b"x", b"\xff", b"d=", b"4\x1e", b"0", b"b!!!"])
async def test_a_malformed_body_breaks_nothing(body: bytes) -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        assert isinstance(client, Polling)
        assert (await client.post_body(body)).status_code in {200, 400}
        assert connection.state in {State.SIGNED_IN, State.CLOSED}


async def test_a_stranger_may_send_only_so_much_on_a_websocket() -> None:
    async with serve() as served, served.client(name=None) as (client, _):
        assert isinstance(client, Websocket)
        await client.send("42" + "x" * STRANGER_BYTES)
        assert await client.closed() == 1006
        assert served.connections() == []


async def test_a_client_that_has_signed_in_may_send_more_than_a_stranger() -> None:
    async with serve() as served, served.client() as (client, _):
        for _ in range(3):
            await client.send(f'42["{"x" * STRANGER_BYTES}"]')
        await served.handler.until(lambda: len(served.handler.events) == 3)


async def test_a_frame_beyond_the_limit_closes_the_connection() -> None:
    async with serve(frame_bytes=10_000) as served, served.client() as (client, _):
        await client.send("42" + "x" * 10_001)
        assert await client.closed() == 1009
        assert served.handler.gone == [(ALICE, DisconnectReason.PROTOCOL_ERROR)]


async def test_fragments_beyond_the_limit_close_the_connection() -> None:
    async with serve(frame_bytes=10_000) as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        await client.send(["x" * 4_000] * 4)  # type: ignore[arg-type]
        assert await client.closed() == 1009
