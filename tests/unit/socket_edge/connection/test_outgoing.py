"""A client that reads is never cut off, however near to its capacity; one that stops reading is."""

import asyncio
from typing import Any

import pytest

from socket_edge.connection.bounds import SendBounds
from socket_edge.connection.outgoing import Outgoing

FRAME = b"0123456789"


class FakeNetwork(asyncio.Transport):
    """Keeps what is written until the client reads it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.writes: list[bytes] = []
        self.waiting = 0
        self.state = "open"

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def read(self, size: int | None = None) -> None:
        """Read everything that waits, or `size` bytes."""
        self.waiting -= self.waiting if size is None else size


class Client:
    """A client behind its bounds."""

    def __init__(self, packets: int = 10, size: int = 1_000_000) -> None:
        self.network = FakeNetwork()
        self.stalls = 0
        self.out = Outgoing(self.network)
        self.out.bound(SendBounds(packets, size), self._stalled)

    def _stalled(self) -> None:
        self.stalls += 1

    async def send(self, count: int = 1) -> None:
        """Send frames in one turn of the loop."""
        for _ in range(count):
            self.out.write(FRAME)
        await asyncio.sleep(0)


async def test_the_frames_of_one_turn_leave_in_one_write() -> None:
    client = Client()
    client.out.write(b"one ")
    client.out.writelines([b"two ", b"three"])
    assert client.network.writes == []
    await asyncio.sleep(0)
    assert client.network.writes == [b"one two three"]


async def test_a_client_that_reads_everything_is_never_cut_off() -> None:
    client = Client(packets=10)
    for _ in range(1_000):
        await client.send(9)
        client.network.read()
    assert client.stalls == 0
    assert len(client.network.writes) == 1_000


async def test_a_client_that_always_lags_a_little_is_never_cut_off() -> None:
    client = Client(packets=10)
    await client.send(4)
    for _ in range(1_000):
        await client.send(4)
        client.network.read(4 * len(FRAME))
    assert client.stalls == 0
    assert client.network.waiting == 4 * len(FRAME)


async def test_a_client_that_reads_byte_by_byte_counts_by_what_it_has_left_unread() -> None:
    client = Client(packets=10)
    await client.send(5)
    for _ in range(500):
        await client.send()
        client.network.read(len(FRAME) // 2)
        await client.send(0)
        client.network.read(len(FRAME) // 2)
    assert client.stalls == 0


async def test_a_client_that_stops_reading_is_cut_off_at_the_bound_of_frames() -> None:
    client = Client(packets=10)
    for _ in range(9):
        await client.send()
    assert client.stalls == 0
    await client.send()
    assert client.stalls == 1
    assert len(client.network.writes) == 9


async def test_a_client_that_stops_reading_is_cut_off_at_the_bound_of_bytes() -> None:
    client = Client(packets=1_000, size=5 * len(FRAME))
    for _ in range(5):
        await client.send()
    assert client.stalls == 0
    await client.send()
    assert client.stalls == 1


async def test_a_client_that_reads_all_may_be_sent_more_than_the_bound_at_once() -> None:
    client = Client(packets=10)
    await client.send(100)
    assert client.stalls == 0


async def test_a_client_that_has_read_in_part_is_charged_for_the_rest() -> None:
    client = Client(packets=10)
    await client.send(20)
    client.network.read(12 * len(FRAME))
    await client.send()
    assert client.stalls == 0
    await client.send()
    assert client.stalls == 1


@pytest.mark.parametrize("ends", ["closed", "aborted"])
async def test_nothing_is_written_to_a_connection_that_is_closing(ends: str) -> None:
    client = Client()
    client.out.write(FRAME)
    client.network.state = ends
    await asyncio.sleep(0)
    assert (client.network.writes, client.stalls) == ([], 0)


async def test_closing_writes_what_waits_and_aborting_does_not() -> None:
    closed, aborted = Client(), Client()
    for client in (closed, aborted):
        client.out.write(FRAME)
    closed.out.close()
    aborted.out.abort()
    assert (closed.network.writes, closed.network.state) == ([FRAME], "closed")
    assert (aborted.network.writes, aborted.network.state) == ([], "aborted")


async def test_an_unbounded_client_is_written_to_whatever_waits() -> None:
    network = FakeNetwork()
    out = Outgoing(network)
    for _ in range(100):
        out.write(FRAME)
        await asyncio.sleep(0)
    assert len(network.writes) == 100
    assert out.get_extra_info("peername") == ("192.0.2.1", 1)
    assert out.get_write_buffer_size() > 0
