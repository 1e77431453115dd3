"""Ends of connections on which nobody is signed in: each has a reason, and a flood of them few lines."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from socket_edge.connection.api import DisconnectReason
from socket_edge.connection.end_log import EndLog
from tests.conformance.connections import TRANSPORTS, Websocket
from tests.harness.waiting import PATIENCE_S
from tests.unit.socket_edge.connection.serving import CONNECT_S, Served, pass_time, serve

EVERY_TRANSPORT = pytest.mark.parametrize("transport", TRANSPORTS)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def closed(logs: list[Any]) -> list[tuple[str | None, str, int]]:
    """Return connection, reason and number of others of each line."""
    return [
        (line["connection"], line["reason"], line["others"])
        for line in logs
        if line["event"] == "connection_closed"
    ]


def test_each_reason_has_a_line_a_second_and_the_others_are_counted() -> None:
    clock = Clock()
    log = EndLog(clock)
    with capture_logs() as logs:
        for number in range(1_000):
            log.add(DisconnectReason.TRANSPORT_CLOSED, f"{number}")
        log.add(DisconnectReason.FLOOD, "loud")
        clock.now += 1
        log.add(DisconnectReason.TRANSPORT_CLOSED, "later")
        clock.now += 1
        log.add(DisconnectReason.TRANSPORT_CLOSED, "last")
    assert closed(logs) == [
        ("0", "transport_closed", 0),
        ("loud", "flood", 0),
        ("later", "transport_closed", 999),
        ("last", "transport_closed", 0),
    ]


async def until_closed(served: Served) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while served.connections():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("reason", DisconnectReason)
@EVERY_TRANSPORT
async def test_the_end_of_a_strangers_connection_is_logged_with_its_reason(
    transport: str, reason: DisconnectReason
) -> None:
    with capture_logs() as logs:
        async with serve() as served, served.client(transport, None) as (_, connection):
            connection.end(reason)
            await pass_time(CONNECT_S)
            await until_closed(served)
    expected = "sign_in_timeout" if reason.farewell.name == "SIGN_OUT" else reason.value
    assert closed(logs) == [(connection.id, expected, 0)]


@pytest.mark.parametrize(
    ("frame", "reason"), [("x", "protocol_error"), ("1", "client_disconnect"), ("", "protocol_error")]
)
async def test_the_end_that_a_stranger_causes_is_logged_with_its_reason(frame: str, reason: str) -> None:
    with capture_logs() as logs:
        async with serve() as served, served.client(name=None) as (client, connection):
            await client.send(frame)
            await client.closed()
            await until_closed(served)
    assert closed(logs) == [(connection.id, reason, 0)]


async def test_a_stranger_who_leaves_is_logged() -> None:
    with capture_logs() as logs:
        async with serve() as served, served.client(name=None) as (client, connection):
            assert isinstance(client, Websocket)
            client.ws.transport.abort()
            await until_closed(served)
    assert closed(logs) == [(connection.id, "transport_closed", 0)]


@EVERY_TRANSPORT
async def test_the_end_of_a_sign_in_is_left_to_the_handler(transport: str) -> None:
    with capture_logs() as logs:
        async with serve() as served, served.client(transport) as (_, connection):
            connection.end(DisconnectReason.FLOOD)
            assert [reason for _, reason in served.handler.gone] == [DisconnectReason.FLOOD]
    assert closed(logs) == []


@pytest.mark.parametrize("sent", [b"", b"GET /socket.io/ HTTP/1.1\r\nHost: lo"], ids=["nothing", "half"])
async def test_a_request_that_never_ends_is_logged(sent: bytes) -> None:
    with capture_logs() as logs:
        async with serve(connect_s=0.1) as served:
            url = httpx.URL(served.address.url)
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(sent)
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
    assert closed(logs) == [(None, "request_timeout", 0)]
