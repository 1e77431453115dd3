"""Raw bytes on a TCP connection to an edge, below HTTP and websocket frames."""

import asyncio
import re
import struct
from types import TracebackType
from typing import Self

from tests.harness.deployment import Edge
from tests.harness.waiting import PATIENCE_S

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
GOODBYE = b"\x88\x02\x03"
"""The first bytes of the close frame of a websocket; the connection itself may end later."""

HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket%b HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"%b\r\n"
)


def handshake(query: bytes = b"", headers: bytes = b"") -> bytes:
    """Return the request that opens a websocket."""
    return HANDSHAKE % (query, headers)


def frame(opcode: int, payload: bytes, *, fin: bool = True, size: int | None = None) -> bytes:
    """Return a masked frame, whose header may promise another size; its mask changes nothing."""
    length = len(payload) if size is None else size
    first = fin << 7 | opcode
    if length < 126:
        start = struct.pack("!BB", first, 0x80 | length)
    elif length < 65_536:
        start = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        start = struct.pack("!BBQ", first, 0x80 | 127, length)
    return start + bytes(4) + payload


class Tcp:
    """One connection."""

    def __init__(self, edge: Edge) -> None:
        self._port = edge.port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def send(self, data: bytes) -> None:
        """Send bytes; those sent to a closed connection are lost."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            return

    async def receive(self) -> bytes:
        """Return the next bytes, or none if the connection has ended."""
        try:
            return await self._reader.read(65_536)
        except ConnectionError:
            return b""

    async def answer(self) -> bytes:
        """Return the answer to a poll, or what arrived of it before the connection ended."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.IGNORECASE)
            assert length is not None
            return head + await self._reader.readexactly(int(length[1]))
        except asyncio.IncompleteReadError as error:
            return error.partial
        except ConnectionError:
            return b""

    async def open_websocket(self, query: bytes = b"", headers: bytes = b"") -> None:
        """Shake hands."""
        await self.send(handshake(query, headers))
        assert (await self._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")

    async def closed(self, timeout_s: float = PATIENCE_S) -> bytes:
        """Wait until the edge has closed the connection or the websocket; return what arrived."""
        received = b""
        async with asyncio.timeout(timeout_s):
            while data := await self.receive():
                received += data
                if GOODBYE in received:
                    break
        return received
