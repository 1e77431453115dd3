"""A client that reads steadily is never cut off, whatever it reads; one that stops reading is."""

import asyncio
import json

import pytest

from socket_edge.connection.api import DisconnectReason, State
from socket_edge.connection.bounds import POLL_ANSWER_PACKETS, SendBounds
from tests.conformance.connections import TRANSPORTS, Polling, Websocket
from tests.harness.waiting import PATIENCE_S
from tests.unit.socket_edge.connection.serving import Person, serve

EVERY_TRANSPORT = pytest.mark.parametrize("transport", TRANSPORTS)
ALICE = Person("alice")
DEFAULT_BYTES = 8_000_000
TEXTS = {
    "latin": "message",
    "cyrillic": "сообщение",
    "chinese": "你好，世界",
    "emoji": "🙂🎉",
    "mixed": "aя你🙂",
}


def payload_of(text: str, size: int) -> bytes:
    """Return a JSON payload of about `size` bytes."""
    return json.dumps({"text": text * (size // len(text.encode()))}, ensure_ascii=False).encode()


@pytest.mark.parametrize("script", TEXTS)
@EVERY_TRANSPORT
async def test_a_client_may_read_any_script_far_beyond_the_bound_of_bytes(
    transport: str, script: str
) -> None:
    payload = payload_of(TEXTS[script], 500_000)
    async with serve() as served, served.client(transport) as (client, connection):
        for turn in range(1, 6):
            for _ in range(7):
                connection.send_event("new_message", payload)
            await client.expect("42", 7 * turn)
        assert sum(len(packet.encode()) for packet in client.packets) > 2 * DEFAULT_BYTES
        assert connection.state is State.SIGNED_IN
        assert served.handler.gone == []


@pytest.mark.parametrize("script", TEXTS)
async def test_packets_that_a_polling_client_has_read_no_longer_count(script: str) -> None:
    payload = payload_of(TEXTS[script], 10_000)
    bounds = SendBounds(max_packets=1_000, max_bytes=10 * len(payload))
    async with serve(send_bounds=bounds) as served, served.client("polling") as (client, connection):
        for turn in range(1, 11):
            for _ in range(9):
                connection.send_event("new_message", payload)
            await client.expect('42["new_message"', 9 * turn)
            connection.send_event("user_status", b"{}")
            await client.expect('42["user_status"', turn)
        assert connection.state is State.SIGNED_IN


async def test_a_polling_client_that_stops_reading_is_cut_off_at_the_bound_of_bytes() -> None:
    payload = payload_of("я", 1_000)
    message = len(b'2["new_message",%b]' % payload)
    async with (
        serve(send_bounds=SendBounds(1_000, 10 * message)) as served,
        served.client("polling") as (_, connection),
    ):
        for _ in range(10):
            connection.send_event("new_message", payload)
        assert connection.state is State.SIGNED_IN
        connection.send_event("new_message", payload)
        assert served.handler.gone == [(ALICE, DisconnectReason.SLOW_CLIENT)]


async def test_a_polling_client_that_stops_reading_is_cut_off_at_the_bound_of_packets() -> None:
    async with (
        serve(send_bounds=SendBounds(50, 1_000_000)) as served,
        served.client("polling") as (_, connection),
    ):
        for _ in range(50):
            connection.send_event("ping", b"{}")
        assert connection.state is State.SIGNED_IN
        connection.send_event("ping", b"{}")
        assert served.handler.gone == [(ALICE, DisconnectReason.SLOW_CLIENT)]


async def test_packets_that_are_left_for_the_next_poll_still_count() -> None:
    async with (
        serve(send_bounds=SendBounds(50, 1_000_000)) as served,
        served.client("polling") as (client, connection),
    ):
        assert isinstance(client, Polling)
        for _ in range(50):
            connection.send_event("ping", b"{}")
        assert len(await client.receive()) == POLL_ANSWER_PACKETS
        for _ in range(POLL_ANSWER_PACKETS):
            connection.send_event("ping", b"{}")
        assert connection.state is State.SIGNED_IN
        connection.send_event("ping", b"{}")
        assert served.handler.gone == [(ALICE, DisconnectReason.SLOW_CLIENT)]


async def test_a_poll_is_answered_with_a_portion_in_order() -> None:
    async with serve() as served, served.client("polling") as (client, connection):
        for number in range(100):
            connection.send_event("ping", b"%d" % number)
        await client.until(lambda: len(client.starting('42["ping"')) == 100)
        assert client.starting('42["ping"') == [f'42["ping",{number}]' for number in range(100)]


async def test_a_websocket_that_lags_near_the_bound_of_frames_is_not_cut_off() -> None:
    payload = payload_of("x", 50_000)
    bounds = SendBounds(max_packets=200, max_bytes=100_000_000)
    async with serve(send_bounds=bounds) as served, served.client() as (client, connection):
        assert isinstance(client, Websocket)
        sent = 0
        for _ in range(10):
            # The kernel takes some of these; the rest waits, and leaves while the client reads.
            for _ in range(150):
                connection.send_event("new_message", payload)
                await asyncio.sleep(0)
            sent += 150
            await client.expect("42", sent)
            client.packets[:] = ["42" if packet.startswith("42") else packet for packet in client.packets]
        assert connection.state is State.SIGNED_IN
        assert served.handler.gone == []


async def test_a_websocket_that_stops_reading_is_cut_off() -> None:
    payload = payload_of("x", 100_000)
    bounds = SendBounds(max_packets=1_000_000, max_bytes=1_000_000)
    async with serve(send_bounds=bounds) as served, served.client() as (client, connection):
        assert isinstance(client, Websocket)
        client.ws.transport.pause_reading()
        async with asyncio.timeout(PATIENCE_S):
            while not served.handler.gone:
                connection.send_event("new_message", payload)
                await asyncio.sleep(0)
        assert served.handler.gone == [(ALICE, DisconnectReason.SLOW_CLIENT)]


async def test_a_websocket_that_sends_pings_and_reads_nothing_is_cut_off() -> None:
    unbounded = SendBounds(max_packets=1_000_000, max_bytes=1_000_000_000)
    async with serve(send_bounds=unbounded) as served, served.client() as (client, connection):
        assert isinstance(client, Websocket)
        client.ws.transport.pause_reading()
        for _ in range(100):
            connection.send_event("new_message", payload_of("x", 100_000))
        await client.ws.ping()
        await served.handler.until(lambda: served.handler.gone)
        assert served.handler.gone == [(ALICE, DisconnectReason.SLOW_CLIENT)]
