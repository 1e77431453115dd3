"""The kernel cuts off a client that leaves data unread."""

import asyncio
import socket

import pytest

from infra.settings.base import SettingsError
from socket_edge.connection.listen import listen
from tests.harness.waiting import PATIENCE_S

UNREAD_S = 1.0
MORE_THAN_THE_KERNEL_TAKES = bytes(20_000_000)


class Writer(asyncio.Protocol):
    """Writes, and perhaps closes, as soon as somebody connects."""

    def __init__(self, lost: asyncio.Event, closes: bool) -> None:
        self._lost = lost
        self._closes = closes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(MORE_THAN_THE_KERNEL_TAKES)
        if self._closes:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux offers it")
@pytest.mark.parametrize("closes", [True, False], ids=["closing", "open"])
async def test_a_client_that_reads_nothing_is_cut_off(closes: bool) -> None:
    lost = asyncio.Event()
    (listening,) = listen("127.0.0.1", 0, UNREAD_S)
    server = await asyncio.get_running_loop().create_server(lambda: Writer(lost, closes), sock=listening)
    async with server:
        with socket.create_connection(listening.getsockname()):
            await asyncio.wait_for(lost.wait(), PATIENCE_S)


def test_localhost_is_listened_on_at_each_of_its_addresses() -> None:
    opened = listen("localhost", 0, UNREAD_S)
    addresses = {one.getsockname()[0] for one in opened}
    for one in opened:
        one.close()
    assert "127.0.0.1" in addresses
    assert addresses <= {"127.0.0.1", "::1"}


def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    (taken,) = listen("127.0.0.1", 0, UNREAD_S)
    with taken, pytest.raises(SettingsError, match=r"Cannot listen on 127\.0\.0\.1"):
        listen("127.0.0.1", taken.getsockname()[1], UNREAD_S)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"], ids=["unknown", "of another machine"])
def test_a_host_that_is_not_this_machine_is_a_wrong_setting(host: str) -> None:
    with pytest.raises(SettingsError, match="BBGRAM_HOST is wrong"):
        listen(host, 0, UNREAD_S)
