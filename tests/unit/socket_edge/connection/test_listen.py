"""The kernel cuts off a client that leaves data unread."""

import asyncio
import socket

import pytest

from socket_edge.connection.listen import listen

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
            await asyncio.wait_for(lost.wait(), 10 * UNREAD_S)
