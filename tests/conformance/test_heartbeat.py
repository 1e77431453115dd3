"""The server pings, and drops clients that do not answer. Both servers ping every second and wait for six.

Every test waits for seconds, so similar cases wait together.
"""

import asyncio

import pytest

from tests.conformance.conftest import HEARTBEAT_TIMEOUT_S
from tests.conformance.connections import Closed, Connection, Polling, Websocket
from tests.conformance.servers import Server
from tests.conftest import Name
from tests.harness.waiting import PATIENCE_S

Transport = type[Polling] | type[Websocket]
BOTH: tuple[Transport, Transport] = (Polling, Websocket)


async def assert_heard(connection: Connection) -> None:
    """Assert that an event is answered which needs no worker."""
    assert (await connection.ask("dance"))["code"] == "unknown_event"


async def test_the_server_says_how_often_it_pings(hasty_server: Server, transport: Transport) -> None:
    async with transport(hasty_server) as connection:
        terms = connection.handshake
        assert (terms["pingInterval"], terms["pingTimeout"]) == (1_000, 1_000 * HEARTBEAT_TIMEOUT_S)


async def test_a_client_that_answers_is_pinged_again_and_again_and_stays(
    hasty_server: Server, name: Name
) -> None:
    async def signed_in(transport: Transport) -> None:
        async with transport(hasty_server) as connection:
            await connection.sign_in(name("alice"))
            await connection.expect("2", count=3)
            await assert_heard(connection)

    async def not_signed_in(transport: Transport) -> None:
        async with transport(hasty_server) as connection:
            await connection.expect("2", count=2)

    async def with_answers_to_no_ping(transport: Transport) -> None:
        async with transport(hasty_server) as connection:
            await connection.sign_in(name("bob"))
            await connection.send("3", "3", "3")
            await connection.expect("2", count=2)
            await assert_heard(connection)

    async def upgraded() -> None:
        async with Polling(hasty_server) as polling:
            await polling.sign_in(name("carol"))
            async with Websocket(hasty_server, sid=polling.sid) as websocket:
                await websocket.send("2probe", "5")
                await websocket.expect("2", count=2)
                await assert_heard(websocket)

    async with asyncio.TaskGroup() as together:
        together.create_task(upgraded())
        for transport in BOTH:
            for case in (signed_in, not_signed_in, with_answers_to_no_ping):
                together.create_task(case(transport))


async def test_a_client_that_does_not_answer_is_closed_after_one_ping(
    hasty_server: Server, name: Name
) -> None:
    async def closed(connection: Connection, code: int) -> None:
        assert await connection.closed() == code
        assert connection.starting("2") == ["2"]
        assert connection.starting("1") == connection.starting("41") == []

    async def signed_in(transport: Transport) -> None:
        async with transport(hasty_server, answers_pings=False) as connection:
            await connection.sign_in(name("alice"))
            await closed(connection, 1000 if transport is Websocket else 400)

    async def not_signed_in(transport: Transport) -> None:
        async with transport(hasty_server, answers_pings=False) as connection:
            await closed(connection, 1000 if transport is Websocket else 400)

    async def upgraded() -> None:
        async with Polling(hasty_server) as polling:
            await polling.sign_in(name("bob"))
            async with Websocket(hasty_server, sid=polling.sid, answers_pings=False) as websocket:
                await websocket.send("2probe", "5")
                await closed(websocket, 1000)

    async with asyncio.TaskGroup() as together:
        together.create_task(upgraded())
        for transport in BOTH:
            together.create_task(signed_in(transport))
            together.create_task(not_signed_in(transport))


async def test_events_do_not_answer_a_ping(hasty_server: Server, name: Name) -> None:
    async def talkative(transport: Transport) -> None:
        async with transport(hasty_server, answers_pings=False) as connection:
            await connection.sign_in(name("alice"))
            with pytest.raises(Closed):
                await ask_on_and_on(connection)

    await asyncio.gather(*(talkative(transport) for transport in BOTH))


async def ask_on_and_on(connection: Connection) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await assert_heard(connection)
            # The pace of a client; nothing is awaited.
            await asyncio.sleep(0.1)


async def test_a_client_that_stops_polling_is_forgotten(hasty_server: Server, name: Name) -> None:
    async with Polling(hasty_server) as silent, Websocket(hasty_server) as other:
        await silent.sign_in(name("alice"))
        await other.sign_in(name("bob"))
        # After so many pings of another connection, both servers have noticed that the silent one is gone.
        await other.expect("2", count=2 * HEARTBEAT_TIMEOUT_S + 2)
        # Over a session that it has closed but not deleted yet, the stock server fails.
        codes = hasty_server.expected(edge={400}, stock={400, 500})
        assert (await silent.post_body(b"3")).status_code in codes
