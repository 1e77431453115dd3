"""What waits for a polling client, and the poll that waits for it."""

import asyncio
from collections import deque
from typing import Final

from engineio import packet as frame
from starlette.types import Receive

from socket_edge.connection.bounds import POLL_ANSWER_PACKETS, ClientGone

_NOOP: Final = str(frame.NOOP)


class Polls:
    """The packets that wait, in order. At most one poll waits for them."""

    def __init__(self) -> None:
        self.waiting_bytes = 0
        """Size of the messages that wait or are being written."""
        self._waiting: deque[tuple[str, int]] = deque()
        self._leaving_bytes = 0
        self._is_released = False
        self._arrival: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return how many packets wait."""
        return len(self._waiting)

    def put(self, packet: str, size: int = 0) -> None:
        """Add a packet, which counts as `size` bytes."""
        self.waiting_bytes += size
        self._waiting.append((packet, size))
        self._wake()

    def release(self) -> None:
        """End the poll that waits, or else the next one, even if nothing waits for it."""
        self._is_released = True
        self._wake()

    async def take(self, receive: Receive) -> list[str]:
        """Wait for packets; return a portion of them, or a NOOP.

        Raises ClientGone if the client hangs up first; the packets stay.
        """
        self.waiting_bytes -= self._leaving_bytes
        self._leaving_bytes = 0
        if not self._waiting and not self._is_released:
            await self._wait(receive)
        self._is_released = False
        portion = [self._waiting.popleft() for _ in range(min(len(self._waiting), POLL_ANSWER_PACKETS))]
        self._leaving_bytes = sum(size for _, size in portion)
        return [packet for packet, _ in portion] or [_NOOP]

    def take_all(self) -> list[str]:
        """Return all packets, for another transport to send."""
        packets = [packet for packet, _ in self._waiting]
        self._waiting.clear()
        return packets

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def _wait(self, receive: Receive) -> None:
        self._arrival = asyncio.get_running_loop().create_future()
        hang_up = asyncio.ensure_future(_hang_up(receive))
        try:
            await asyncio.wait((self._arrival, hang_up), return_when=asyncio.FIRST_COMPLETED)
            if hang_up.done():
                raise ClientGone
        finally:
            self._arrival = None
            hang_up.cancel()


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
