"""Frames: what reaches the handler, in which order, and what each costs the client."""

import asyncio
import base64
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
    served.handler.forget_costs()
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
        await served.handler.until(lambda: len('42["sync",{}]') in served.handler.metered)
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
        assert await cost_of(served, client, "431[]", "432[]", "432[]", "4399[1]") == [5, 7]
        assert served.handler.acks == [(ALICE, ack_id) for ack_id in (1, 2, 2, 99)]


async def test_a_large_ack_is_metered_although_it_was_asked_for() -> None:
    async with serve() as served, served.client() as (client, connection):
        connection.send_event("ping", b"{}", 1)
        large = f'431["{"x" * ACK_BYTES}"]'
        assert await cost_of(served, client, large, "431[]") == [len(large)]


async def test_acks_that_the_last_sign_in_owed_are_not_free_for_the_next() -> None:
    async with serve() as served, served.client() as (client, connection):
        connection.send_event("ping", b"{}", 1)
        await client.send("41")
        await sign_in(client, "bob")
        assert await cost_of(served, client, "431[]") == [5]


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
        *(("3", 1), ("3probe", 6), ("5", 1), ("6", 1)),
        *(("40", 2), ('40{"token":"bob"}', 17), ("41/admin,", 9), ("42/admin,[5]", 12)),
        *(("43[]", 4), ("43/admin,1[5]", 13), ('43["ä"]', 8)),
    ],
)
async def test_every_packet_that_is_not_an_event_is_metered(packet: str, size: int) -> None:
    async with serve() as served, served.client() as (client, connection):
        assert await cost_of(served, client, packet) == [size]
        assert connection.session == ALICE


MEGABYTE = "x" * 900_000
"""As large as a frame may be, nearly."""
LARGE = {
    "pong": f"3{MEGABYTE}",
    "upgrade": f"5{MEGABYTE}",
    "noop": f"6{MEGABYTE}",
    "event": f'42["sync","{MEGABYTE}"]',
    "event of another namespace": f'42/admin,["{MEGABYTE}"]',
    "event of a namespace with a query": f'42/?{MEGABYTE},["sync",{{}}]',
    "event with attachments": f'451-["sync","{MEGABYTE}"]',
    "connect": f'40{{"token":"{MEGABYTE}"}}',
    "connect to another namespace": f"40/{MEGABYTE},",
    "disconnect": f"41/{MEGABYTE},",
    "ack": f'431["{MEGABYTE}"]',
    "ack of a namespace with a query": f"43/?{MEGABYTE},1[]",
    "ack with attachments": f'461-1["{MEGABYTE}"]',
    "refusal": f'44"{MEGABYTE}"',
    "unknown packet": f"49{MEGABYTE}",
    "endless ack id": f"42{'9' * 900_000}[]",
    "JSON without a packet": f"4{'[' * 900_000}",
    "bytes of several to a character": f'42["{"чат" * 100_000}"]',
}
"""One of each kind of frame that a client may send."""


@pytest.mark.parametrize("large", LARGE.values(), ids=LARGE)
@EVERY_TRANSPORT
async def test_the_bytes_of_each_packet_are_metered_once(transport: str, large: str) -> None:
    async with serve() as served, served.client(transport) as (client, connection):
        connection.send_event("ping", b"{}", 1)
        await client.expect('421["ping"')
        await everything_read(served, client)
        served.handler.forget_costs()
        if isinstance(client, Polling):
            await client.post_body(large.encode())
        else:
            await client.send(large)
            await served.handler.until(lambda: served.handler.metered + served.handler.event_sizes)
        costs = served.handler.metered + served.handler.event_sizes
        assert [size for size in costs if size] == [len(large.encode())]


@pytest.mark.parametrize(
    "junk", [MEGABYTE, f"9{MEGABYTE}", f"²{MEGABYTE}"], ids=["letters", "nine", "square"]
)
async def test_the_bytes_of_what_is_no_frame_are_metered(junk: str) -> None:
    async with serve() as served, served.client() as (client, _):
        await everything_read(served, client)
        served.handler.forget_costs()
        await client.send(junk)
        assert await client.closed() == 1000
        assert served.handler.metered == [len(junk.encode())]
        assert served.handler.gone == [(ALICE, DisconnectReason.PROTOCOL_ERROR)]


async def test_the_bytes_of_what_is_no_frame_may_be_a_flood() -> None:
    async with serve() as served, served.client() as (client, _):
        await everything_read(served, client)
        served.handler.allowance = 0
        await client.send(MEGABYTE)
        assert await client.closed() == 1006
        assert served.handler.gone == [(ALICE, DisconnectReason.FLOOD)]


@pytest.mark.parametrize("in_parts", [False, True], ids=["one frame", "parts"])
async def test_the_bytes_of_a_binary_message_are_metered_once(in_parts: bool) -> None:
    async with serve() as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        await everything_read(served, client)
        served.handler.forget_costs()
        await client.ws.send(
            [MEGABYTE[:9].encode(), MEGABYTE[9:].encode()] if in_parts else MEGABYTE.encode()
        )
        await everything_read(served, client)
        assert [size for size in served.handler.metered if size] == [len(MEGABYTE)]
        assert served.handler.event_sizes == [len(LAST)]


BODIES = {
    "no packet": b"x" * 900_000,
    "not UTF-8": b"\xff" * 900_000,
    "bytes": b"b" + base64.b64encode(bytes(600_000)),
    "wrong Base64": b"b" + b"!" * 900_000,
    "a form": b"d=43[]&a=" + b"x" * 900_000,
    "too many packets": b"\x1e" * 900_000,
    "two events": f'42["sync","{MEGABYTE}"]\x1e42["sync",{{}}]'.encode(),
    "an event and an ack": f'42["sync","{MEGABYTE}"]\x1e43[]'.encode(),
}


@pytest.mark.parametrize("requests_due", [0, 1], ids=["unasked", "asked for"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_the_bytes_of_a_post_are_metered_once(body: bytes, requests_due: int) -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        assert isinstance(client, Polling)
        connection.requests_due = requests_due
        served.handler.forget_costs()
        await client.post_body(body)
        assert sum(served.handler.metered + served.handler.event_sizes) == len(body)
        assert served.handler.counts[0] == 1 - requests_due
        assert connection.requests_due == 0


async def test_the_body_of_a_get_is_metered() -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        assert isinstance(client, Polling)
        connection.requests_due = 0
        connection.send_event("ping", b"{}")
        served.handler.forget_costs()
        answer = await client.http.request("GET", client.address, content=MEGABYTE.encode())
        assert answer.status_code == 200
        assert served.handler.metered == [len(MEGABYTE)]


async def test_a_body_that_is_refused_for_its_size_is_metered() -> None:
    async with serve(frame_bytes=10_000) as served, served.client("polling") as (client, _):
        assert isinstance(client, Polling)
        served.handler.forget_costs()
        assert (await client.post_body(b"4" * 10_001)).status_code == 413
        assert served.handler.metered == [10_001]


@EVERY_TRANSPORT
async def test_each_connect_and_disconnect_is_metered(transport: str) -> None:
    async with serve() as served, served.client(transport, None) as (client, _):
        served.handler.forget_costs()
        refused, accepted = '40{"token":"nobody"}', '40{"token":"alice"}'
        await client.send(refused)
        await client.expect("44")
        await sign_in(client, "alice")
        await client.send("41")
        await served.handler.until(lambda: served.handler.gone)
        expected = [len(refused), len(accepted.replace(":", ": ")), len("41")]
        assert [size for size in served.handler.metered if size] == expected


async def test_a_connect_that_is_too_much_ends_the_connection_before_it_is_checked() -> None:
    async with serve() as served, served.client(name=None) as (client, _):
        served.handler.allowance = 0
        await client.send('40{"token":"alice"}')
        assert await client.closed() == 1006
        assert served.handler.admitting == []


async def test_pings_and_pongs_of_the_websocket_are_metered_by_their_size() -> None:
    async with serve() as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        await everything_read(served, client)
        served.handler.forget_costs()
        await (await client.ws.ping(b"1234"))
        await client.ws.pong(b"123456")
        await everything_read(served, client)
        assert served.handler.metered == [4, 6]


async def test_each_fragment_counts_and_their_bytes_are_metered_with_the_message() -> None:
    async with serve() as served, served.client() as (client, _):
        assert isinstance(client, Websocket)
        await everything_read(served, client)
        served.handler.forget_costs()
        await client.ws.send(["42[1", '2,"ab"]'])  # followed by an empty last fragment
        await everything_read(served, client)
        assert (served.handler.metered, served.handler.counts) == ([0, 0, 0], [1, 1, 1])
        assert served.handler.event_sizes == [len('42[12,"ab"]'), len(LAST)]
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
        served.handler.forget_costs()
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
        served.handler.forget_costs()
        await client.send('43["\u4f60\u597d"]')
        await client.send('42["sync",{}]')
        await served.handler.until(lambda: served.handler.events)
        assert served.handler.metered == [len('43["\u4f60\u597d"]'.encode())]


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
