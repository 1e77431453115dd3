"""Generates load over raw websocket frames, in a process of its own that reads its spec from stdin.

A Socket.IO client library would be the bottleneck. This speaks just enough Engine.IO and Socket.IO, acks
every message it gets, and records when each message was due, acked and delivered.
"""

import asyncio
import gc
import socket
import statistics
import sys
import time
from array import array
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

T = TypeVar("T")

_HEAD = 20
"""Length of what a text begins with: numbers of the sender (6), the message (9) and the run (4), a space."""
_TEXT = b'"text":"'
_SUCCESS = b'"success":true'
_DRAIN_S = 30.0
_CONNECT_S = 120.0
_TICK_S = 0.001
_SHORT = 126
"""Payloads of so many bytes need a longer head of their frame."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What load to make. Times in seconds."""

    run: int
    """Number of the run; messages of other runs do not count."""
    ports: list[int]
    """The servers on 127.0.0.1; clients are spread over them."""
    names: list[str]
    """User names; the first writes to the second, the third to the fourth, and so on."""
    auths: list[str]
    """JSON that each of them connects with."""
    connecting: int = 64
    """How many connect at the same time."""
    in_flight: int = 0
    """Closed loop: unacked messages that each sender keeps up. 0 for an open loop."""
    rate: float = 0.0
    """Open loop: messages/s of all senders together."""
    warm_up_s: float = 2.0
    measure_s: float = 8.0
    text_bytes: int = 60
    """Length of a text."""
    apart: bool = False
    """The two of a pair are on different servers."""


class Latency(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds."""

    p50: float
    p99: float
    p999: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        """Return the percentiles of the latencies, NaN if there are none."""
        if len(seconds) < 2:
            return cls(*[seconds[0] * 1000 if seconds else float("nan")] * 3)
        cuts = statistics.quantiles(seconds, n=1000, method="inclusive")
        return cls(*(round(cuts[index] * 1000, 3) for index in (499, 989, 998)))


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a load. Counts cover the whole run, rates and latencies the measured window."""

    messages_s: float
    ack: Latency
    delivery: Latency
    sent: int
    acked: int
    errors: int
    """Acks without success, and messages never acked."""
    missing: int
    """Messages that were acked and never delivered."""
    doubled: int
    out_of_order: int
    """Messages delivered after a later one of the same sender."""
    own_events: int
    """`message_sent` events that senders received, one per message."""
    bytes_up: int = 0
    """Bytes of frames that the clients have sent since they were signed in."""
    bytes_down: int = 0
    """The same, in the other direction."""


@dataclass(eq=False, slots=True)
class _Sent:
    """The records of one sender; lists by number of the message."""

    due_at: "array[float]" = field(default_factory=lambda: array("d"))
    acked_at: "array[float]" = field(default_factory=lambda: array("d"))
    delivered_at: "array[float]" = field(default_factory=lambda: array("d"))
    last_delivered: int = -1
    acked: int = 0
    delivered: int = 0
    failed: int = 0
    doubled: int = 0
    out_of_order: int = 0
    own_events: int = 0

    def ack(self, number: int, now: float, *, success: bool) -> None:
        self.acked += 1
        if success:
            self.acked_at[number] = now
        else:
            self.failed += 1

    def deliver(self, number: int, now: float) -> None:
        if self.delivered_at[number]:
            self.doubled += 1
            return
        self.delivered += 1
        self.delivered_at[number] = now
        if number < self.last_delivered:
            self.out_of_order += 1
        self.last_delivered = max(number, self.last_delivered)


class Connection(WSListener):
    """One client of a server that speaks Socket.IO."""

    def __init__(self, run: int, number: int, auth: str, on_ack: Callable[["Connection"], None]) -> None:
        self.number = number
        self._run = b"%04d" % run
        self.sent = _Sent()
        self.peer: Connection
        self.peer_name = ""
        self.closed = False
        self.bytes_up = self.bytes_down = 0
        self.welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._auth = b"40" + auth.encode()
        self._on_ack = on_ack

    async def connect(self, port: int) -> None:
        """Connect and wait until the server has accepted the user."""
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        # On the loopback interface a connection is there at once. To wait for it costs twice as much.
        sock = socket.create_connection(("127.0.0.1", port), _CONNECT_S)
        await ws_connect(
            lambda: self,
            url,
            enable_auto_ping=False,
            websocket_handshake_timeout=_CONNECT_S,
            socket_factory=lambda _: sock,
        )
        async with asyncio.timeout(_CONNECT_S):
            await self.welcome

    def send(self, due_at: float, padding: str) -> None:
        """Send the next message to the peer."""
        sent = self.sent
        number = len(sent.due_at)
        sent.due_at.append(due_at)
        sent.acked_at.append(0.0)
        sent.delivered_at.append(0.0)
        frame = (
            f'42{number}["send_message",{{"username":"{self.peer_name}",'
            f'"text":"{self.number:06d}{number:09d}{self._run.decode()} {padding}",'
            f'"clientId":"{self._run.decode()}-{self.number}-{number}"}}]'
        )
        self._write(frame.encode())

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport: frames may come before `connect` goes on."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle a frame."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        if frame.msg_type != WSMsgType.TEXT:
            return
        data = frame.get_payload_as_bytes()
        self.bytes_down += len(data) + (2 if len(data) < _SHORT else 4)
        start = data[:2]
        if start == b"42":
            self._take_event(data)
        elif start == b"43":
            number = int(data[2 : data.index(b"[")])
            self.sent.ack(number, time.perf_counter(), success=_SUCCESS in data)
            self._on_ack(self)
        elif start == b"2":
            self._write(b"3")
        elif start[:1] == b"0":
            self._write(self._auth)
        elif start == b"44":
            self._fail(f"refused: {data.decode()}")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note that the server has closed the connection."""
        self.closed = True
        self._fail("disconnected")

    def _take_event(self, data: bytes) -> None:
        bracket = data.index(b"[")
        if data.startswith(b'["new_message"', bracket):
            if bracket > 2:
                self._write(b"43" + data[2:bracket] + b"[]")
            at = data.index(_TEXT) + len(_TEXT)
            if data[at + 15 : at + 19] == self._run:
                assert int(data[at : at + 6]) == self.peer.number, "a message of somebody else"
                self.peer.sent.deliver(int(data[at + 6 : at + 15]), time.perf_counter())
        elif data.startswith(b'["message_sent"', bracket):
            self.sent.own_events += 1
        elif data.startswith(b'["connection_success"', bracket) and not self.welcome.done():
            self.welcome.set_result(None)

    def _write(self, data: bytes) -> None:
        self.bytes_up += len(data) + (6 if len(data) < _SHORT else 8)
        self.transport.send(WSMsgType.TEXT, data)

    def _fail(self, why: str) -> None:
        if not self.welcome.done():
            self.welcome.set_exception(ConnectionError(why))


class Load:
    """Connected clients and the load they make."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._padding = "x" * max(0, spec.text_bytes - _HEAD)
        self._sending = False
        self.connections: list[Connection] = []

    async def connect(self) -> float:
        """Connect all clients; return how many a second were signed in."""
        spec = self._spec
        for number, auth in enumerate(spec.auths):
            self.connections.append(Connection(spec.run, number, auth, self._refill))
        for one, other in self.pairs():
            one.peer, other.peer = other, one
            one.peer_name, other.peer_name = spec.names[other.number], spec.names[one.number]
        waiting = iter(self.connections)

        async def connect_some() -> None:
            for connection in waiting:
                # Edges get the same load, whether pairs stay together or not.
                place = connection.number if spec.apart else connection.number // 2
                await connection.connect(spec.ports[place % len(spec.ports)])

        started_at = time.perf_counter()
        await asyncio.gather(*(connect_some() for _ in range(spec.connecting)))
        return len(self.connections) / (time.perf_counter() - started_at)

    def pairs(self) -> Iterator[tuple[Connection, Connection]]:
        """Yield pairs of sender and recipient."""
        clients = iter(self.connections)
        yield from zip(clients, clients, strict=False)

    async def run(self, on_window: Callable[[str], None]) -> Result:
        """Send; report when the measured window begins and ends; wait until everything has arrived."""

        async def window() -> tuple[float, float]:
            on_window("begin")
            begin = time.perf_counter()
            await asyncio.sleep(self._spec.measure_s)
            end = time.perf_counter()
            on_window("end")
            return begin, end

        return self.result(*await self.send_during(window()))

    async def send_during(self, window: Coroutine[Any, Any, T]) -> T:
        """Warm up, send until `window` is over, wait until everything has arrived; return its result."""
        for connection in self.connections:
            connection.bytes_up = connection.bytes_down = 0
        self._sending = True
        load = self._open_loop() if self._spec.rate else self._closed_loop()
        sending = asyncio.create_task(load)
        await asyncio.sleep(self._spec.warm_up_s)
        result = await window
        self._sending = False
        await sending
        await self._drain()
        return result

    async def close(self) -> None:
        """Disconnect everybody."""
        for connection in self.connections:
            connection.transport.disconnect(graceful=False)
        await asyncio.gather(*(connection.transport.wait_disconnected() for connection in self.connections))

    def _refill(self, connection: Connection) -> None:
        """Closed loop: an ack makes room for the next message."""
        if self._sending and self._spec.in_flight:
            connection.send(time.perf_counter(), self._padding)

    async def _closed_loop(self) -> None:
        for sender, _ in self.pairs():
            for _ in range(self._spec.in_flight):
                sender.send(time.perf_counter(), self._padding)

    async def _open_loop(self) -> None:
        """Send on schedule, whether acks come or not; a latency counts from when its message was due."""
        senders = [sender for sender, _ in self.pairs()]
        started_at = time.perf_counter()
        count = 0
        while self._sending:
            due = (time.perf_counter() - started_at) * self._spec.rate
            while count <= due:
                senders[count % len(senders)].send(started_at + count / self._spec.rate, self._padding)
                count += 1
            await asyncio.sleep(_TICK_S)

    async def _drain(self) -> None:
        deadline = time.perf_counter() + _DRAIN_S
        books = [sender.sent for sender, _ in self.pairs()]
        while time.perf_counter() < deadline:
            if all(book.acked >= len(book.due_at) <= book.delivered + book.failed for book in books):
                # Whatever arrives now is a duplicate.
                await asyncio.sleep(0.5)
                return
            await asyncio.sleep(0.02)

    def result(self, begin: float, end: float) -> Result:
        """Return the result, with rates and latencies of the messages that were due in a window."""
        books = [sender.sent for sender, _ in self.pairs()]
        ack: list[float] = []
        delivery: list[float] = []
        acked = missing = in_window = 0
        for book in books:
            for due, acked_at, delivered_at in zip(
                book.due_at, book.acked_at, book.delivered_at, strict=True
            ):
                acked += acked_at > 0
                missing += acked_at > 0 and not delivered_at
                in_window += begin <= acked_at < end
                if begin <= due < end:
                    if acked_at:
                        ack.append(acked_at - due)
                    if delivered_at:
                        delivery.append(delivered_at - due)
        sent = sum(len(book.due_at) for book in books)
        return Result(
            messages_s=round(in_window / (end - begin), 1),
            ack=Latency.of(ack),
            delivery=Latency.of(delivery),
            sent=sent,
            acked=acked,
            errors=sent - acked,
            missing=missing,
            doubled=sum(book.doubled for book in books),
            out_of_order=sum(book.out_of_order for book in books),
            own_events=sum(book.own_events for book in books),
            bytes_up=sum(connection.bytes_up for connection in self.connections),
            bytes_down=sum(connection.bytes_down for connection in self.connections),
        )


class Connected(msgspec.Struct, tag="connected"):
    """All clients are signed in."""

    connects_s: float
    bytes_up: int = 0
    bytes_down: int = 0


class Window(msgspec.Struct, tag="window"):
    """The measured time begins or ends."""

    at: str


class Finished(msgspec.Struct, tag="finished"):
    """The load is over."""

    result: Result


Report = Connected | Window | Finished
"""What this process prints, one JSON line each. It continues after a line on stdin."""


def report(report: msgspec.Struct) -> None:
    """Print a report for the process that reads them."""
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    sys.stdout.flush()


async def told_to_go_on() -> None:
    """Wait for a line on stdin."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def _run(spec: Spec) -> None:
    load = Load(spec)
    connects_s = await load.connect()
    up, down = (sum(getattr(one, name) for one in load.connections) for name in ("bytes_up", "bytes_down"))
    report(Connected(connects_s, up, down))
    await told_to_go_on()
    if spec.in_flight or spec.rate:
        report(Finished(await load.run(lambda at: report(Window(at)))))
        await told_to_go_on()
    await load.close()


def main() -> None:
    """Generate the load described by the first line of stdin, a JSON `Spec`."""
    # It would look at all records of all messages, again and again.
    gc.disable()
    uvloop.run(_run(msgspec.json.decode(sys.stdin.readline(), type=Spec)))


if __name__ == "__main__":
    main()
