"""Frames: what reaches the handler, in which order, and how large they may be."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from socket_edge.connection.api import Binary, DisconnectReason, EventData, State
from socket_edge.connection.bounds import STRANGER_BYTES
from tests.conformance.connections import TRANSPORTS, Websocket
from tests.unit.socket_edge.connection.serving import Person, everything_read, serve

EVERY_TRANSPORT = pytest.mark.parametrize("transport", TRANSPORTS)
ALICE = Person("alice")


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
