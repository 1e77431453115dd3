"""Runs an edge or a worker that notes when it hands over each message, for `tests.benchmark.stages`.

`python -m tests.benchmark.stage_probe FOLDER edge --port 3000` is `bbgram edge --port 3000`, but with some of
its functions replaced by ones that note the time first. The product knows nothing of it. When the process
stops, it writes what it noted into the folder. Noting a time takes about a microsecond.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from infra.cli.main import main as bbgram
from infra.wire.batch import Batch

_SEND: Final = "send_message"
_EVENT: Final = f'"{_SEND}"'.encode()


class Mark(StrEnum):
    """A moment in the life of a message, in this order."""

    WRITTEN = "client writes"
    FRAME = "edge has the frame"
    LANE = "lane takes it"
    PUSH = "edge writes LPUSH"
    TASK = "worker has the task"
    HANDLER = "worker has the batch"
    STATEMENT = "statement begins"
    STORED = "statement is answered"
    PUBLICATION = "worker writes the publication"
    ENTRY = "edge has the stream entry"
    ACK = "edge writes the ack"
    ACKED = "client has the ack"
    PUBLISHED = "publication is answered"
    """Beside the way: the edge does not wait for it."""


WHERE: Final = {
    Mark.WRITTEN: "Connection._write of tests/benchmark/load.py",
    Mark.FRAME: "WebSocket.on_ws_frame of socket_edge/connection/websocket.py",
    Mark.LANE: "Lane._carry of socket_edge/relay/lanes.py",
    Mark.PUSH: "LPUSH in send_packed_command of redis/asyncio, called by Dispatcher.send",
    Mark.TASK: "_Taken.add of workers/backlog.py, or Channel._brpop_read of kombu/transport/redis.py",
    Mark.HANDLER: "BatchProcessor.process",
    Mark.STATEMENT: "Cursor.execute of psycopg, with `INTO messages`, in BatchProcessor.process",
    Mark.STORED: "the return of that Cursor.execute",
    Mark.PUBLICATION: "EVALSHA in send_packed_command of redis, in BatchProcessor.process",
    Mark.PUBLISHED: "read_response of redis after that",
    Mark.ENTRY: "Inbox._hand_over of socket_edge/relay/inbox.py",
    Mark.ACK: "Outgoing.flush of socket_edge/connection/outgoing.py, after EngineConnection.send_ack",
    Mark.ACKED: "Connection.on_ws_frame of tests/benchmark/load.py",
}
"""What is passed at each mark. When the code changes there, the probes below must follow it."""


class Trail(msgspec.Struct):
    """When one process passed which marks with one message."""

    number: int | None = None
    """Ack id of the client's event; None in a worker."""
    batch_id: str = ""
    passed: list[tuple[Mark, int]] = []
    """With the time in ns, on the monotonic clock that all processes of a machine share."""

    def note(self, mark: Mark, at_ns: int | None = None) -> None:
        """Note that the message is at a mark now, or was at that time."""
        self.passed.append((mark, time.monotonic_ns() if at_ns is None else at_ns))


class Replaced(NamedTuple):
    """A method that calls `before` and `after` with its own arguments."""

    owner: type
    name: str
    before: Callable[..., None] | None = None
    after: Callable[..., None] | None = None

    def exists(self) -> bool:
        """Tell whether the code still has this method."""
        return hasattr(self.owner, self.name)

    def install(self) -> None:
        """Replace it."""
        owner, name, before, after = self
        original = getattr(owner, name)

        @wraps(original)
        def method(*args: Any, **options: Any) -> Any:
            if before is not None:
                before(*args, **options)
            result = original(*args, **options)
            if after is not None:
                after(*args, **options)
            return result

        setattr(owner, name, method)


class Probe(Protocol):
    """Notes the marks of a process."""

    trails: list[Trail]

    def replaced(self) -> list[Replaced]:
        """Return the methods to replace."""


class EdgeProbe:
    """The marks of an edge. One message is in flight at a time."""

    def __init__(self) -> None:
        self.trails: list[Trail] = []
        self._trail = Trail()
        """That of the message in flight."""
        self._is_pushing = False
        self._acking: Any = None
        """The `Outgoing` that the ack has been written to, until it flushes."""

    def replaced(self) -> list[Replaced]:
        """Return the methods to replace."""
        from redis.asyncio.connection import AbstractConnection

        from socket_edge.connection.engineio import EngineConnection
        from socket_edge.connection.outgoing import Outgoing
        from socket_edge.connection.websocket import WebSocket
        from socket_edge.relay.dispatch import Dispatcher
        from socket_edge.relay.inbox import Inbox
        from socket_edge.relay.lanes import Lane

        return [
            Replaced(WebSocket, "on_ws_frame", before=self._frame),
            Replaced(Lane, "_carry", before=self._lane),
            Replaced(Dispatcher, "send", before=self._dispatch),
            Replaced(AbstractConnection, "send_packed_command", before=self._command),
            Replaced(Inbox, "_hand_over", before=self._entry),
            Replaced(EngineConnection, "send_ack", before=self._ack),
            Replaced(Outgoing, "flush", before=self._flush),
        ]

    def _frame(self, _: Any, transport: Any, frame: Any) -> None:
        now_ns = time.monotonic_ns()
        head, _, event = frame.get_payload_as_bytes().partition(b"[")
        if event.startswith(_EVENT):
            self._trail = Trail(number=int(head[2:]))
            self._trail.note(Mark.FRAME, now_ns)
            self.trails.append(self._trail)

    def _lane(self, _: Any, requests: Any) -> None:
        if any(request.name == _SEND for request in requests):
            self._trail.note(Mark.LANE)

    def _dispatch(self, _: Any, batch: Batch, *__: Any) -> None:
        self._is_pushing = _has_message(batch)
        if self._is_pushing:
            self._trail.batch_id = batch.id

    def _command(self, _: Any, command: Any, *__: Any, **___: Any) -> None:
        if self._is_pushing and _is(command, b"LPUSH"):
            self._trail.note(Mark.PUSH)

    def _entry(self, _: Any, entry_id: bytes, data: bytes) -> None:
        if self._trail.batch_id and self._trail.batch_id.encode() in data:
            self._trail.note(Mark.ENTRY)

    def _ack(self, connection: Any, ack_id: int, data: bytes) -> None:
        if ack_id == self._trail.number and connection.websocket is not None:
            self._acking = connection.websocket._out

    def _flush(self, out: Any) -> None:
        if out is self._acking:
            self._acking = None
            self._trail.note(Mark.ACK)


class WorkerProbe:
    """The marks of a worker, which handles one batch at a time."""

    def __init__(self) -> None:
        self.trails: list[Trail] = []
        self._woken_ns = 0
        self._trail: Trail | None = None
        """That of the message that is being handled."""
        self._is_publishing = False
        self._thread = threading.get_ident()

    def replaced(self) -> list[Replaced]:
        """Return the methods to replace."""
        from kombu.transport.redis import Channel
        from psycopg import Cursor
        from redis.connection import AbstractConnection

        from workers.backlog import _Taken
        from workers.batch_processor import BatchProcessor

        return [
            Replaced(Channel, "_brpop_read", before=self._wake),
            Replaced(_Taken, "add", before=self._take),
            Replaced(Cursor, "execute", before=self._execute, after=self._executed),
            Replaced(AbstractConnection, "send_packed_command", before=self._command),
            Replaced(AbstractConnection, "read_response", after=self._response),
            Replaced(BatchProcessor, "process", before=self._begin, after=self._processed),
        ]

    def _wake(self, *_: Any, **__: Any) -> None:
        self._woken_ns = time.monotonic_ns()

    def _take(self, _: Any, tasks: Any) -> None:
        if tasks:
            self._woken_ns = time.monotonic_ns()

    def _begin(self, _: Any, batches: Any) -> None:
        for batch in batches:
            if _has_message(batch):
                self._trail = Trail(batch_id=batch.id)
                self._trail.note(Mark.TASK, self._woken_ns)
                self._trail.note(Mark.HANDLER)
                self.trails.append(self._trail)

    def _execute(self, _: Any, query: Any, *__: Any, **___: Any) -> None:
        self._note(Mark.STATEMENT, "INTO messages" in str(query))

    def _executed(self, _: Any, query: Any, *__: Any, **___: Any) -> None:
        self._note(Mark.STORED, "INTO messages" in str(query))

    def _command(self, _: Any, command: Any, *__: Any, **___: Any) -> None:
        if self._note(Mark.PUBLICATION, _is(command, b"EVALSHA")):
            self._is_publishing = True

    def _response(self, *_: Any, **__: Any) -> None:
        if self._note(Mark.PUBLISHED, self._is_publishing):
            self._is_publishing = False

    def _processed(self, *_: Any) -> None:
        self._trail = None

    def _note(self, mark: Mark, applies: bool) -> bool:
        """Note a mark if it applies and a message is being handled, in this thread; return whether it is."""
        if not applies or self._trail is None or threading.get_ident() != self._thread:
            return False
        self._trail.note(mark)
        return True


def _has_message(batch: Batch) -> bool:
    return any(event.name == _SEND for event in batch.events)


def _is(command: Any, name: bytes) -> bool:
    """Tell whether this is a Redis command, packed, in one or several parts."""
    first = command if isinstance(command, bytes) else next(iter(command), b"")
    return name in first[:64]


_PROBES: Final[dict[str, type[Probe]]] = {"edge": EdgeProbe, "worker": WorkerProbe}


def missing() -> list[str]:
    """Return the methods that the probes would replace and the code no longer has."""
    replaced = [one for kind in _PROBES.values() for one in kind().replaced()]
    return [
        f"{one.owner.__module__}.{one.owner.__qualname__}.{one.name}" for one in replaced if not one.exists()
    ]


def read(folder: Path, role: str) -> list[Trail]:
    """Return what the processes of a role, `edge` or `worker`, have written."""
    files = sorted(folder.glob(f"{role}-*.json"))
    return [trail for file in files for trail in msgspec.json.decode(file.read_bytes(), type=list[Trail])]


def main() -> None:
    """Run `bbgram` with a probe, if there is one for this command."""
    folder, *arguments = sys.argv[1:]
    probe = _PROBES[arguments[0]]() if arguments[0] in _PROBES else None
    for one in probe.replaced() if probe is not None else ():
        one.install()
    # When it has stopped, uvicorn sends itself the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        bbgram(arguments, prog_name="bbgram")
    finally:
        if probe is not None:
            file = Path(folder) / f"{arguments[0]}-{os.getpid()}.json"
            file.write_bytes(msgspec.json.encode(probe.trails))


if __name__ == "__main__":
    main()
