"""An edge under attack, while two bystanders go on talking on it."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil

from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge, Part

SERVED_S = 3.0
"""How long a message between bystanders may take under attack, from the send to the ack and the delivery.

Not counted is how long the process of the test, in which they live, stood still on a busy machine.
"""

WORKER_MB = 20.0
"""How much the memory of the worker may grow under an attack, unless the attack says otherwise."""

FINDING = "finding"
"""The test property that carries the finding."""

_SAMPLE_S = 0.005
_PAUSE_S = 0.02
_STANDSTILL_S = 0.5
_MB = 1_000_000


@dataclass(frozen=True)
class Finding:
    """The result of an attack: a row of the table."""

    attack: str
    sent: str
    outcome: str
    peak_mb: float
    """The largest growth of the edge's memory."""
    bound_mb: float
    worker_peak_mb: float
    worker_bound_mb: float
    slowest_ms: float
    """The slowest message between bystanders."""


class Siege:
    """Open during an attack. When it closes, it asserts that nobody else has noticed.

    The bystanders were served in time; edge and worker are alive and have logged no error; the memory of the
    edge has grown by at most `bound_mb`, that of the worker by at most `worker_mb`.
    """

    def __init__(
        self,
        chat: Deployment,
        innocents: tuple[str, str],
        report: Callable[[str, object], None],
        *,
        attack: str,
        sent: str,
        outcome: str,
        bound_mb: float,
        worker_mb: float = WORKER_MB,
        edge: Edge | None = None,
    ) -> None:
        self._attack, self._sent, self._outcome = attack, sent, outcome
        self._bounds_mb = (bound_mb, worker_mb)
        self._edge = edge or chat.edges[0]
        (worker,) = chat.workers
        self._parts: tuple[Part, Part] = (self._edge, worker)
        self._report = report
        self._alice, self._bob = (Client(name) for name in innocents)
        self._slowest_s = 0.0
        self._messages = 0

    async def __aenter__(self) -> Self:
        for client in (self._alice, self._bob):
            await client.connect(self._edge)
        self._read = [len(part.log) for part in self._parts]
        self._memories = [_Memory(part) for part in self._parts]
        self._standstill = _Standstill()
        self._over = asyncio.Event()
        self._talk = asyncio.create_task(self._go_on_talking())
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._over.set()
            talk = await asyncio.gather(self._talk, return_exceptions=True)
            grown_mb = [memory.stop() / _MB for memory in self._memories]
            self._standstill.stop()
            if error is None:
                for failure in filter(None, talk):
                    raise failure
                assert self._messages > 0, "nobody was served during the attack"
                await self._exchange()
                self._assert_unharmed(*grown_mb)
        finally:
            for client in (self._alice, self._bob):
                await client.close()

    def _assert_unharmed(self, edge_mb: float, worker_mb: float) -> None:
        for part, read in zip(self._parts, self._read, strict=True):
            assert part.process.poll() is None, f"a process has died:\n{part.log[-2000:]}"
            assert (errors := errors_in(part.log[read:])) == [], errors
        assert self._slowest_s <= SERVED_S, f"an innocent waited {self._slowest_s:.1f} s"
        edge_bound_mb, worker_bound_mb = self._bounds_mb
        assert edge_mb <= edge_bound_mb, f"the edge has grown by {edge_mb:.1f} MB"
        assert worker_mb <= worker_bound_mb, f"the worker has grown by {worker_mb:.1f} MB"
        finding = Finding(
            self._attack,
            self._sent,
            self._outcome,
            edge_mb,
            edge_bound_mb,
            worker_mb,
            worker_bound_mb,
            1_000 * self._slowest_s,
        )
        self._report(FINDING, asdict(finding))

    async def _go_on_talking(self) -> None:
        while not self._over.is_set():
            await self._exchange()
            await asyncio.sleep(_PAUSE_S)

    async def _exchange(self) -> None:
        """Send a message and wait until it is acked and delivered."""
        text = f"number {self._messages}"
        began_at, stood_s = time.monotonic(), self._standstill.seconds
        ack = await self._alice.send(self._bob.username, text)
        assert ack["success"], ack
        await self._bob.expect("new_message", lambda message: message["text"] == text)
        took_s = time.monotonic() - began_at - (self._standstill.seconds - stood_s)
        self._slowest_s = max(self._slowest_s, took_s)
        self._messages += 1


class _Standstill:
    """Notices when this process stands still, by a thread that is late."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """For how long it did so far; pauses too short to matter do not count."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._over.wait(_SAMPLE_S):
            now = time.monotonic()
            if now - last > _STANDSTILL_S:
                self.seconds += now - last
            last = now


class _Memory:
    """Samples the resident memory of a process, on a thread of its own."""

    def __init__(self, part: Part) -> None:
        self._process = psutil.Process(part.process.pid)
        self._before = self._most = self._process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Stop sampling; return the largest growth in bytes."""
        self._over.set()
        self._thread.join()
        return self._most - self._before

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            try:
                self._most = max(self._most, self._process.memory_info().rss)
            except psutil.NoSuchProcess:
                return


def errors_in(log: str) -> list[str]:
    """Return the lines of a JSON log that report an error or are not JSON."""
    return [line for line in log.splitlines() if line and _is_error(line)]


def _is_error(line: str) -> bool:
    try:
        event: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return True
    return event.get("level") not in {"debug", "info", "warning"}
