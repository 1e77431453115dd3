"""A connection's life: its states, every reason for its end, and how the client is told."""

import asyncio
import json
import time

import httpx
import pytest

from socket_edge.connection.api import DisconnectReason, Farewell, State
from socket_edge.limits.token_bucket import TokenBucket
from tests.conformance.connections import TRANSPORTS, Closed, Polling, Websocket
from tests.unit.socket_edge.connection.serving import CONNECT_S, Person, pass_time, serve, sign_in

EVERY_TRANSPORT = pytest.mark.parametrize("transport", TRANSPORTS)
ALICE = Person("alice")

FAREWELLS = {
    DisconnectReason.TOKEN_EXPIRED: Farewell.SIGN_OUT,
    DisconnectReason.TOO_MANY_SOCKETS: Farewell.SIGN_OUT,
    DisconnectReason.SIGNED_OUT: Farewell.SIGN_OUT,
    DisconnectReason.REQUEST_TIMEOUT: Farewell.CUT,
    DisconnectReason.SLOW_CLIENT: Farewell.CUT,
    DisconnectReason.FLOOD: Farewell.CUT,
    DisconnectReason.SERVER_SHUTDOWN: Farewell.COME_BACK,
    DisconnectReason.CLIENT_DISCONNECT: Farewell.CLOSE,
    DisconnectReason.TRANSPORT_CLOSED: Farewell.CLOSE,
    DisconnectReason.PROTOCOL_ERROR: Farewell.CLOSE,
    DisconnectReason.UNSUPPORTED_PROTOCOL: Farewell.CLOSE,
    DisconnectReason.PING_TIMEOUT: Farewell.CLOSE,
    DisconnectReason.SIGN_IN_TIMEOUT: Farewell.CLOSE,
    DisconnectReason.SIGN_IN_REFUSED: Farewell.CLOSE,
}
CODES = {Farewell.CLOSE: 1000, Farewell.CUT: 1006, Farewell.COME_BACK: 1012}
"""How a websocket ends."""
ENDING = [reason for reason, farewell in FAREWELLS.items() if farewell is not Farewell.SIGN_OUT]
SIGNING_OUT = [reason for reason, farewell in FAREWELLS.items() if farewell is Farewell.SIGN_OUT]


def test_every_reason_has_its_farewell() -> None:
    assert {reason: reason.farewell for reason in DisconnectReason} == FAREWELLS


@EVERY_TRANSPORT
async def test_a_connection_is_open_then_admitting_then_signed_in_then_closed(transport: str) -> None:
    async with serve() as served, served.client(transport, None) as (client, connection):
        assert (connection.state, connection.session) == (State.OPEN, None)
        served.handler.may_admit.clear()
        sending = asyncio.create_task(client.send('40{"token":"alice"}'))
        await served.handler.until(lambda: served.handler.admitting)
        assert (connection.state, connection.session) == (State.ADMITTING, None)
        served.handler.may_admit.set()
        await sending
        sid = json.loads((await client.expect("40"))[2:])["sid"]
        await served.handler.until(lambda: served.handler.signed_in_as)
        assert (connection.state, connection.session, connection.socket_id) == (State.SIGNED_IN, ALICE, sid)
        connection.end(DisconnectReason.FLOOD)
        assert (connection.state, connection.session) == (State.CLOSED, None)
        assert served.connections() == []


@EVERY_TRANSPORT
async def test_a_client_may_sign_out_and_another_sign_in_on_the_same_connection(transport: str) -> None:
    async with serve() as served, served.client(transport) as (client, connection):
        first = connection.socket_id
        await client.send("41")
        await served.handler.until(lambda: served.handler.gone)
        assert connection.state is State.OPEN
        assert await sign_in(client, "bob") == connection.socket_id != first
        assert connection.session == Person("bob")
        assert served.handler.gone == [(ALICE, DisconnectReason.CLIENT_DISCONNECT)]


@EVERY_TRANSPORT
async def test_a_refused_client_is_told_why_and_may_try_again(transport: str) -> None:
    async with serve() as served, served.client(transport, None) as (client, connection):
        await client.send('40{"token":"nobody"}')
        refusal = json.loads((await client.expect("44"))[2:])
        assert refusal["message"] == "Not now."
        assert (refusal["data"]["code"], refusal["data"]["retryAfterMs"]) == ("rate_limited", 500)
        assert (connection.state, connection.session) == (State.OPEN, None)
        await sign_in(client, "alice")
        assert served.handler.signed_in_as == [ALICE]
        assert served.handler.gone == []


@EVERY_TRANSPORT
async def test_a_defect_in_the_handler_refuses_the_client_without_details(transport: str) -> None:
    async with serve() as served, served.client(transport, None) as (client, _):
        await client.send('40{"token":"broken"}')
        refusal = await client.expect("44")
        assert json.loads(refusal[2:])["data"]["code"] == "internal"
        assert "defect" not in refusal


async def test_a_second_sign_in_while_the_first_is_checked_is_refused() -> None:
    async with serve() as served, served.client(name=None) as (client, connection):
        served.handler.may_admit.clear()
        await client.send('40{"token":"alice"}')
        await served.handler.until(lambda: served.handler.admitting)
        served.handler.may_admit.set()
        await client.send('40{"token":"bob"}')
        await client.expect("40")
        assert connection.session == ALICE
        assert [person.name for person in served.handler.signed_in_as] == ["alice"]


async def test_a_client_that_leaves_while_it_is_checked_is_never_signed_in() -> None:
    async with serve() as served, served.client(name=None) as (client, connection):
        served.handler.may_admit.clear()
        await client.send('40{"token":"alice"}')
        await served.handler.until(lambda: served.handler.admitting)
        connection.end(DisconnectReason.PING_TIMEOUT)
        served.handler.may_admit.set()
        await served.server.tasks.wait()
        assert (connection.state, connection.session) == (State.CLOSED, None)
        assert (served.handler.signed_in_as, served.handler.gone) == ([], [])


async def test_other_namespaces_are_refused_and_change_nothing() -> None:
    async with serve() as served, served.client() as (client, connection):
        await client.send('40/admin,{"token":"bob"}')
        refusal = json.loads((await client.expect("44/admin,")).removeprefix("44/admin,"))
        assert refusal["message"] == refusal["data"]["message"]
        assert (refusal["data"]["code"], refusal["data"]["retryable"]) == ("invalid_payload", False)
        await client.send('42["sync",{}]')
        await served.handler.until(lambda: served.handler.events)
        assert connection.session == ALICE
        assert (served.handler.acks, served.handler.gone) == ([], [])
        assert [data for _, _, data in served.handler.events] == ['["sync",{}]']


@pytest.mark.parametrize("reason", ENDING)
async def test_a_websocket_is_ended_in_the_way_that_the_reason_implies(reason: DisconnectReason) -> None:
    async with serve() as served, served.client() as (client, connection):
        connection.end(reason)
        assert await client.closed() == CODES[reason.farewell]
        assert served.handler.gone == [(ALICE, reason)]
        assert served.connections() == []


@pytest.mark.parametrize("reason", ENDING)
async def test_a_poll_that_waits_is_answered_at_the_end_and_the_next_one_refused(
    reason: DisconnectReason,
) -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        assert isinstance(client, Polling)
        waiting = asyncio.create_task(client.poll())
        metered = len(served.handler.metered)
        await served.handler.until(lambda: len(served.handler.metered) > metered)
        connection.end(reason)
        answered = await waiting
        is_announced = reason in {DisconnectReason.SIGN_IN_REFUSED, DisconnectReason.PROTOCOL_ERROR}
        assert answered.text == ("1" if is_announced else "6")
        assert (await client.poll()).status_code == 400
        assert served.handler.gone == [(ALICE, reason)]


@pytest.mark.parametrize("reason", SIGNING_OUT)
@EVERY_TRANSPORT
async def test_a_client_that_is_signed_out_may_sign_in_again(
    transport: str, reason: DisconnectReason
) -> None:
    async with serve() as served, served.client(transport) as (client, connection):
        connection.end(reason)
        assert (connection.state, connection.session) == (State.OPEN, None)
        assert served.handler.gone == [(ALICE, reason)]
        await client.expect("41")
        await sign_in(client, "bob")
        assert connection.session == Person("bob")


@EVERY_TRANSPORT
async def test_the_first_reason_wins_and_a_closed_connection_ends_no_more(transport: str) -> None:
    async with serve() as served, served.client(transport) as (_, connection):
        for reason in (DisconnectReason.SLOW_CLIENT, DisconnectReason.SERVER_SHUTDOWN, *DisconnectReason):
            connection.end(reason)
        assert served.handler.gone == [(ALICE, DisconnectReason.SLOW_CLIENT)]


@EVERY_TRANSPORT
async def test_sending_to_a_closed_connection_does_nothing(transport: str) -> None:
    async with serve() as served, served.client(transport) as (_, connection):
        connection.end(DisconnectReason.FLOOD)
        connection.send_event("ping", b"{}", 1)
        connection.send_ack(1, b"{}")
        connection.beat(float("inf"))
        assert served.handler.gone == [(ALICE, DisconnectReason.FLOOD)]


async def test_a_client_that_says_nothing_is_closed_after_a_while() -> None:
    async with serve() as served, served.client(name=None) as (client, connection):
        await pass_time(CONNECT_S)
        assert await client.closed() == 1000
        assert connection.state is State.CLOSED
        assert served.handler.gone == []


async def test_each_client_that_says_nothing_is_closed_at_its_own_time() -> None:
    async with serve(connect_s=100) as served, served.client(name=None) as (first, one):
        await pass_time(60)
        async with served.client(name=None) as (second, other):
            await pass_time(50)
            assert await first.closed() == 1000
            assert (one.state, other.state) == (State.CLOSED, State.OPEN)
            await pass_time(60)
            assert await second.closed() == 1000


async def test_a_client_that_has_signed_out_is_closed_unless_it_signs_in_again() -> None:
    async with serve() as served, served.client() as (client, _):
        await client.send("41")
        await served.handler.until(lambda: served.handler.gone)
        await pass_time(CONNECT_S)
        assert await client.closed() == 1000
        assert served.handler.gone == [(ALICE, DisconnectReason.CLIENT_DISCONNECT)]


async def test_after_each_sign_out_there_is_the_whole_time_to_sign_in_again() -> None:
    async with serve(connect_s=100) as served, served.client() as (client, connection):
        await pass_time(70)
        await client.send("41")
        await served.handler.until(lambda: served.handler.gone)
        await pass_time(50)
        assert connection.state is State.OPEN
        await sign_in(client, "bob")
        assert connection.session == Person("bob")


async def test_a_signed_in_client_stays_when_the_time_to_sign_in_is_over() -> None:
    async with serve() as served, served.client() as (client, connection):
        await pass_time(2 * CONNECT_S)
        await client.send('42["sync",{}]')
        await served.handler.until(lambda: served.handler.events)
        assert connection.state is State.SIGNED_IN


@EVERY_TRANSPORT
async def test_the_tenth_refused_sign_in_closes_the_connection(transport: str) -> None:
    async with serve() as served, served.client(transport, None) as (client, connection):
        for count in range(1, 11):
            assert connection.state is State.OPEN
            await asyncio.gather(client.expect("44", count), client.send('40{"token":"nobody"}'))
        await client.expect("1")
        assert connection.state is State.CLOSED
        with pytest.raises(Closed):
            await client.until(lambda: False)


@EVERY_TRANSPORT
async def test_a_client_that_answers_pings_stays(transport: str) -> None:
    async with (
        serve(heartbeat_s=0.1, heartbeat_timeout_s=60) as served,
        served.client(transport) as (client, connection),
    ):
        await client.expect("2", 4)
        assert connection.state is State.SIGNED_IN


@EVERY_TRANSPORT
async def test_a_client_that_answers_no_ping_is_closed(transport: str) -> None:
    async with (
        serve(heartbeat_s=25, heartbeat_timeout_s=20) as served,
        served.client(transport, answers_pings=False) as (_, connection),
    ):
        now = time.monotonic() + 25
        connection.beat(now)
        connection.beat(now + 19)
        assert connection.state is State.SIGNED_IN
        connection.beat(now + 20)
        await served.handler.until(lambda: served.handler.gone)
        assert served.handler.gone == [(ALICE, DisconnectReason.PING_TIMEOUT)]


@EVERY_TRANSPORT
async def test_a_client_that_closes_engine_io_has_left(transport: str) -> None:
    async with serve() as served, served.client(transport) as (client, _):
        await client.send("1")
        await served.handler.until(lambda: served.handler.gone)
        assert served.handler.gone == [(ALICE, DisconnectReason.CLIENT_DISCONNECT)]


@pytest.mark.parametrize("abruptly", [False, True], ids=["close frame", "cut"])
async def test_a_websocket_that_the_client_closes_is_a_closed_transport(abruptly: bool) -> None:
    async with serve() as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        if abruptly:
            client.ws.transport.abort()
        else:
            await client.ws.close()
        await served.handler.until(lambda: served.handler.gone)
        assert served.handler.gone == [(ALICE, DisconnectReason.TRANSPORT_CLOSED)]
        assert served.connections() == []


@pytest.mark.parametrize("frame", ["x", "9", "", "²"])
async def test_a_malformed_frame_is_a_protocol_error(frame: str) -> None:
    async with serve() as served, served.client() as (client, _):
        await client.send(frame)
        assert await client.closed() == 1000
        assert served.handler.gone == [(ALICE, DisconnectReason.PROTOCOL_ERROR)]


async def test_a_server_that_shuts_down_lets_each_client_finish_and_asks_it_to_come_back() -> None:
    async with (
        serve() as served,
        served.client() as (client, connection),
        served.client(name=None) as (other, _),
    ):
        served.shut_down()
        await served.handler.until(lambda: served.handler.leaving == [connection])
        assert await other.closed() == 1012
        connection.send_event("message_sent", b"{}")
        connection.end(DisconnectReason.SERVER_SHUTDOWN)
        assert await client.closed() == 1012
        assert client.packets[-1] == '42["message_sent",{}]'
        assert served.handler.gone == [(ALICE, DisconnectReason.SERVER_SHUTDOWN)]


async def test_a_server_that_shuts_down_lets_polling_clients_go() -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        assert isinstance(client, Polling)
        connection.requests_due = 0
        served.handler.metered.clear()
        waiting = asyncio.create_task(client.poll())
        await served.handler.until(lambda: served.handler.metered)
        served.shut_down()
        await served.handler.until(lambda: served.handler.leaving == [connection])
        connection.end(DisconnectReason.SERVER_SHUTDOWN)
        assert (await waiting).status_code == 200
        assert served.handler.gone == [(ALICE, DisconnectReason.SERVER_SHUTDOWN)]


async def test_a_client_that_is_signed_out_while_the_server_shuts_down_is_let_go() -> None:
    async with serve() as served, served.client() as (client, connection):
        served.shut_down()
        await served.handler.until(lambda: served.handler.leaving == [connection])
        connection.end(DisconnectReason.TOKEN_EXPIRED)
        assert await client.closed() == 1012
        assert served.handler.gone == [(ALICE, DisconnectReason.TOKEN_EXPIRED)]


async def test_a_server_that_shuts_down_first_handles_what_it_has_read() -> None:
    async with serve() as served, served.client() as (client, connection):
        may_go_on = asyncio.Event()

        async def wait() -> None:
            await may_go_on.wait()

        served.handler.work = lambda data: wait() if data == '["first"]' else None
        await client.send('42["first"]', '42["second"]')
        await served.handler.until(lambda: served.handler.events)
        served.shut_down()
        may_go_on.set()
        await served.handler.until(lambda: served.handler.leaving)
        connection.end(DisconnectReason.SERVER_SHUTDOWN)
        assert await client.closed() == 1012
        assert served.handler.events[0][2] == '["first"]'


async def test_requests_for_connections_that_do_not_exist_count_for_their_address() -> None:
    async with (
        serve(connects=TokenBucket(0.001, 6)) as served,
        served.client("polling") as (client, _),
        served.client(name=None) as (other, _),
    ):
        assert isinstance(client, Polling)
        url = f"{served.address.url}/socket.io/?EIO=4&transport=polling"
        upgraded = f"{url}&sid={other.handshake['sid']}"
        requests = [
            ("GET", f"{url}&sid=gone"),
            ("POST", f"{url}&sid=gone"),
            ("POST", upgraded),
            ("POST", url),
        ]
        for expected in (400, 429):
            for method, address in requests:
                assert (await client.http.request(method, address)).status_code == expected
        await client.send('42["sync",{}]')
        assert served.handler.events == [(ALICE, None, '["sync",{}]')]


async def test_a_connection_counts_for_its_address_until_it_ends() -> None:
    async with serve(sockets_per_address=1) as served:
        async with served.client() as (client, _):
            with pytest.raises(Closed) as refused:
                async with Websocket(served.address):
                    pass
            assert refused.value.code == 429
            await client.send("1")
            await served.handler.until(lambda: served.handler.gone)
        async with served.client("polling", "bob"):
            assert len(served.connections()) == 1


async def test_a_connection_knows_the_origin_and_the_host_of_its_first_request() -> None:
    async with serve() as served, httpx.AsyncClient(verify=False) as http:
        url = f"{served.address.url}/socket.io/?EIO=4&transport=polling"
        headers = {"Origin": "https://App.example", "Host": "Chat.example:3000"}
        assert (await http.get(url, headers=headers)).status_code == 200
        assert (await http.get(url, headers={"Host": "chat"})).status_code == 200
        assert [(one.origin, one.host) for one in served.connections()] == [
            ("https://App.example", "Chat.example:3000"),
            ("", "chat"),
        ]
