"""The send buffer of a websocket client: batches writes, and limits what may wait.

A call into the kernel costs more than a frame, so everything written in one turn of the loop leaves in
one call. Without a limit, the edge would keep everything for a client that does not read.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from socket_edge import metrics
from socket_edge.connection.bounds import SendBounds


class Outgoing:
    """Stands between picows and the network."""

    __slots__ = ("_bounds", "_loop", "_stalled", "_unsent", "_writes", "_written", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._written = 0
        """Bytes written so far."""
        self._writes: list[tuple[int, int, int]] = []
        """Writes that may not have left yet: bytes written up to their end, their bytes, their frames."""
        self._bounds: SendBounds | None = None
        self._stalled: Callable[[], None] = transport.abort

    def bound(self, bounds: SendBounds, stalled: Callable[[], None]) -> None:
        """Call `stalled` instead of writing when more than `bounds` waits."""
        self._bounds, self._stalled = bounds, stalled

    def get_extra_info(self, name: str) -> Any:
        """Return what the network's transport knows."""
        return self.transport.get_extra_info(name)

    def get_write_buffer_size(self) -> int:
        """Always report waiting bytes: otherwise picows would bypass this object."""
        return 1

    def write(self, data: bytes) -> None:
        """Write a frame, together with all others of this turn of the loop."""
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(data)

    def writelines(self, parts: list[bytes]) -> None:
        """Write a frame in parts."""
        self.write(b"".join(parts))

    def flush(self) -> None:
        """Write what was collected, unless too much waits already."""
        unsent, self._unsent = self._unsent, []
        if self.transport.is_closing():
            return
        waiting_bytes = self.transport.get_write_buffer_size()
        waiting = self._count_waiting(waiting_bytes) + len(unsent) if waiting_bytes else 0
        if self._bounds is not None and not self._bounds.allow(waiting, waiting_bytes):
            self._stalled()
            return
        if not waiting_bytes:
            self._writes.clear()
        data = b"".join(unsent)
        self._written += len(data)
        metrics.SENT_BYTES.counts[()] += len(data)
        self._writes.append((self._written, len(data), len(unsent)))
        self.transport.write(data)

    def _count_waiting(self, waiting_bytes: int) -> int:
        """Return how many frames the last `waiting_bytes` bytes hold. A partly sent write counts in part."""
        left = self._written - waiting_bytes
        gone = 0
        while gone < len(self._writes) and self._writes[gone][0] <= left:
            gone += 1
        del self._writes[:gone]
        if not self._writes:
            return 0
        end, size, frames = self._writes[0]
        share = -(-frames * min(size, end - left) // size)
        return share + sum(frames for _, _, frames in self._writes[1:])

    def close(self) -> None:
        """Write what waits, and close."""
        self.flush()
        self.transport.close()

    def abort(self) -> None:
        """Close without writing."""
        self.transport.abort()
