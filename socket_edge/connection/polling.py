"""engineio's long polling, with a count of what waits and a limit on the length of answers."""

from typing import Final

from engineio import packet as frame
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError

from socket_edge.connection.bounds import POLL_ANSWER_PACKETS

_REQUESTS_PER_MESSAGE: Final = 2
"""One that fetches it, and one that acks it."""


class PollingSocket(AsyncSocket):  # type: ignore[misc]
    """What waits for a client's next poll. It knows nothing of websockets."""

    closed: bool
    closing: bool
    connected: bool
    upgraded: bool
    waiting_bytes = 0
    """Size of the messages that are queued or being written."""
    requests_due = 0
    """Requests that the client may need to fetch and ack the messages it was sent."""
    _leaving_bytes = 0
    _rest: list[frame.Packet] = []  # noqa: RUF012 - replaced, never changed

    @property
    def waiting_packets(self) -> int:
        """Number of packets that wait for a poll."""
        queued: int = self.queue.qsize()
        return queued + len(self._rest)

    def put(self, message: bytes) -> None:
        """Queue a Socket.IO packet for the next poll."""
        self.waiting_bytes += len(message)
        self.requests_due += _REQUESTS_PER_MESSAGE
        self.queue.put_nowait(_Message(message))

    def take_waiting(self) -> list[frame.Packet]:
        """Return all packets that wait, for another transport to send."""
        packets, self._rest = [*self._rest], []
        while not self.queue.empty():
            packets.append(self.queue.get_nowait())
        return packets

    async def poll(self) -> list[frame.Packet]:
        """Wait for packets; return a portion of them."""
        self.waiting_bytes -= self._leaving_bytes
        self._leaving_bytes = 0
        packets = self._rest or _without_idle_noops(await super().poll())
        portion, self._rest = packets[:POLL_ANSWER_PACKETS], packets[POLL_ANSWER_PACKETS:]
        self._leaving_bytes = sum(pkt.size for pkt in portion if isinstance(pkt, _Message))
        return portion

    async def take_all(self, packets: list[frame.Packet]) -> None:
        """Take the packets of a poll."""
        try:
            for pkt in packets:
                await self.receive(pkt)
        except EngineIOError:
            # engineio answers for a connection that it still knows, and fails on one that it does not.
            if not self.closed:
                raise


class _Message(frame.Packet):  # type: ignore[misc]
    """A message that waits for a poll."""

    def __init__(self, data: bytes) -> None:
        super().__init__(frame.MESSAGE, data.decode())
        self.size = len(data)
        """Bytes."""


def _without_idle_noops(packets: list[frame.Packet]) -> list[frame.Packet]:
    """Drop NOOPs: they only end a poll, and any other packet, or a single NOOP, does that too."""
    return [pkt for pkt in packets if pkt.packet_type != frame.NOOP] or packets[:1]
