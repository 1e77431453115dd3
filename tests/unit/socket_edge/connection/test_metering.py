"""Everything that a client sends is metered, once, by its size."""

import base64

import pytest

from socket_edge.connection.api import DisconnectReason, State
from socket_edge.connection.bounds import ACK_BYTES
from tests.conformance.connections import TRANSPORTS, Polling, Websocket
from tests.unit.socket_edge.connection.serving import LAST, Person, Served, everything_read, serve, sign_in

EVERY_TRANSPORT = pytest.mark.parametrize("transport", TRANSPORTS)
ALICE = Person("alice")


async def cost_of(served: Served, client: Polling | Websocket, *packets: str | bytes) -> list[int]:
    """Return what is metered when the client sends these packets on a websocket."""
    await everything_read(served, client)
    served.handler.forget_costs()
    await client.send(*packets)
    await everything_read(served, client)
    return served.handler.metered


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
        *(("0", 1), ("40/admin,", 9), ("43[]", 4), ('43["ä"]', 8)),
    ],
)
async def test_every_packet_that_is_not_an_event_is_metered(packet: str, size: int) -> None:
    async with serve() as served, served.client() as (client, connection):
        assert await cost_of(served, client, packet) == [size]
        assert connection.session == ALICE


async def test_a_binary_ack_and_its_attachment_are_metered() -> None:
    async with serve() as served, served.client() as (client, _):
        assert await cost_of(served, client, '461-7["x"]', b"one") == [10, 3]


@pytest.mark.parametrize("packet", ["41/admin,", '42/admin,["sync",{}]', "43/admin,1[5]", "2", "4x"])
async def test_every_packet_that_breaks_the_protocol_is_metered(packet: str) -> None:
    async with serve() as served, served.client() as (client, _):
        await everything_read(served, client)
        served.handler.forget_costs()
        await client.send(packet)
        await client.closed()
        assert served.handler.metered == [len(packet)]


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
        await client.send('451-["sync"]')
        await client.ws.send(
            [MEGABYTE[:9].encode(), MEGABYTE[9:].encode()] if in_parts else MEGABYTE.encode()
        )
        await everything_read(served, client)
        assert [size for size in served.handler.metered if size] == [len(MEGABYTE)]
        assert served.handler.event_sizes == [len('451-["sync"]'), len(LAST)]


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
