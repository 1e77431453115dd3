"""The upgrade from long polling to a websocket: nothing is lost, and only one websocket takes over."""

import asyncio

import pytest

from socket_edge.connection.api import State
from socket_edge.connection.bounds import STRANGER_BYTES, SendBounds
from tests.conformance.connections import Closed, Polling, Websocket
from tests.unit.socket_edge.connection.serving import CONNECT_S, Person, pass_time, serve, sign_in

ALICE = Person("alice")


async def upgrade(polling: Polling, websocket: Websocket) -> None:
    """Upgrade as clients do: probe while a poll waits."""
    waiting = asyncio.create_task(polling.poll())
    await websocket.send("2probe")
    await websocket.expect("3probe")
    assert (await waiting).text == "6"
    await websocket.send("5")


async def test_a_client_stays_signed_in_through_an_upgrade() -> None:
    async with serve() as served, served.client("polling") as (polling, connection):
        assert isinstance(polling, Polling)
        async with Websocket(served.address, sid=polling.sid) as websocket:
            await upgrade(polling, websocket)
            await websocket.send('42["sync",{}]')
            await served.handler.until(lambda: served.handler.events)
            connection.send_event("ping", b"{}")
            await websocket.expect('42["ping",{}]')
            assert (connection.state, connection.session) == (State.SIGNED_IN, ALICE)
            assert served.handler.gone == []


async def test_what_waits_for_a_poll_comes_over_the_websocket_in_order() -> None:
    async with serve() as served, served.client("polling") as (polling, connection):
        assert isinstance(polling, Polling)
        async with Websocket(served.address, sid=polling.sid) as websocket:
            await websocket.send("2probe")
            await websocket.expect("3probe")
            for number in range(40):
                connection.send_event("ping", b"%d" % number)
            polled = [packet for packet in await polling.receive() if packet != "6"]
            await websocket.send("5")
            await websocket.until(lambda: len(polled) + len(websocket.starting("42")) == 40)
            received = polled + websocket.starting("42")
            assert received == [f'42["ping",{number}]' for number in range(40)]


async def test_an_upgraded_client_may_send_more_than_a_stranger() -> None:
    async with serve() as served, served.client("polling") as (polling, _):
        assert isinstance(polling, Polling)
        async with Websocket(served.address, sid=polling.sid) as websocket:
            await upgrade(polling, websocket)
            for _ in range(3):
                await websocket.send(f'42["{"x" * STRANGER_BYTES}"]')
            await served.handler.until(lambda: len(served.handler.events) == 3)


async def test_a_stranger_who_upgrades_may_sign_in_afterwards() -> None:
    async with serve() as served, served.client("polling", None) as (polling, connection):
        assert isinstance(polling, Polling)
        async with Websocket(served.address, sid=polling.sid) as websocket:
            await upgrade(polling, websocket)
            await sign_in(websocket, "alice")
            assert connection.session == ALICE


@pytest.mark.parametrize("first", ["2", "5", "3probe", "hello"])
async def test_a_wrong_probe_leaves_the_client_polling(first: str) -> None:
    async with serve() as served, served.client("polling") as (polling, connection):
        assert isinstance(polling, Polling)
        async with Websocket(served.address, sid=polling.sid) as websocket:
            await websocket.send(first)
            await websocket.closed()
        connection.send_event("ping", b"{}")
        await polling.expect('42["ping",{}]')
        assert connection.session == ALICE


async def test_the_frames_of_an_upgrade_are_metered() -> None:
    async with serve() as served, served.client("polling") as (polling, _):
        assert isinstance(polling, Polling)
        served.handler.forget_costs()
        async with Websocket(served.address, sid=polling.sid) as websocket:
            await upgrade(polling, websocket)
            await websocket.send('42["sync",{}]')
            await served.handler.until(lambda: served.handler.events)
        assert [size for size in served.handler.metered if size] == [len("2probe"), len("5")]


async def test_the_bytes_of_a_wrong_probe_are_metered() -> None:
    async with serve() as served, served.client("polling") as (polling, _):
        assert isinstance(polling, Polling)
        served.handler.forget_costs()
        async with Websocket(served.address, sid=polling.sid) as websocket:
            await websocket.send("2" + "x" * 100_000)
            await websocket.closed()
        assert [size for size in served.handler.metered if size] == [100_001]


async def test_an_upgrade_that_takes_too_long_leaves_the_client_polling() -> None:
    async with serve() as served, served.client("polling") as (polling, connection):
        assert isinstance(polling, Polling)
        async with Websocket(served.address, sid=polling.sid) as websocket:
            await websocket.send("2probe")
            await websocket.expect("3probe")
            await pass_time(CONNECT_S)
            await websocket.closed()
        connection.send_event("ping", b"{}")
        await polling.expect('42["ping",{}]')


async def test_of_two_websockets_the_first_takes_over() -> None:
    async with serve() as served, served.client("polling") as (polling, connection):
        assert isinstance(polling, Polling)
        async with (
            Websocket(served.address, sid=polling.sid) as first,
            Websocket(served.address, sid=polling.sid) as second,
        ):
            for websocket in (first, second):
                await websocket.send("2probe")
                await websocket.expect("3probe")
            await first.send("5")
            await first.send('42["sync",{}]')
            await served.handler.until(lambda: served.handler.events)
            await second.send("5")
            await second.closed()
            connection.send_event("ping", b"{}")
            await first.expect('42["ping",{}]')


async def test_a_connection_that_has_a_websocket_takes_no_second_one() -> None:
    async with serve() as served, served.client() as (client, _):
        with pytest.raises(Closed):
            await Websocket(served.address, sid=client.handshake["sid"]).__aenter__()
        await client.send('42["sync",{}]')
        await served.handler.until(lambda: served.handler.events)


async def test_packets_sent_before_an_upgrade_no_longer_count() -> None:
    bounds = SendBounds(max_packets=30, max_bytes=1_000_000)
    async with serve(send_bounds=bounds) as served, served.client("polling") as (polling, connection):
        assert isinstance(polling, Polling)
        for _ in range(30):
            connection.send_event("ping", b"{}")
        async with Websocket(served.address, sid=polling.sid) as websocket:
            await websocket.send("2probe")
            await websocket.expect("3probe")
            await websocket.send("5")
            await websocket.expect('42["ping"', 30)
            for _ in range(10):
                connection.send_event("ping", b"{}")
            await websocket.expect('42["ping"', 40)
            assert connection.state is State.SIGNED_IN
