"""Where a lone message's time goes: `make stages`.

One client writes to another, the next message when the last one is acked, or a little later. Client, edge and
worker note when each message passes from one to the next (`stage_probe.py`), all on the same clock.
`python -m tests.benchmark.stages` writes the section in docs/benchmarks.md; `--print` writes nothing.
"""

import argparse
import asyncio
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from tests.benchmark import measure, stage_probe
from tests.benchmark.load import Connection
from tests.benchmark.machine import machine
from tests.benchmark.measure import BenchmarkFailed
from tests.benchmark.stage_probe import WHERE, Mark, Trail
from tests.benchmark.systems import Field, user_names

WARM_UP: Final = 200
"""Messages that are sent first: statements are prepared, caches filled, code is specialized."""
PAUSES_MS: Final = (0, 5)
"""Without a pause, and with one as at 200 messages/s: an idle machine takes longer for the same."""
_ANSWER_S: Final = 15.0
_UNTOUCHED: Final = {"sweep_s": 3_600, "sweep_after_s": 3_600}
"""No sweep runs in between: the recipient acks nothing, so that no receipts are handled between messages."""

_PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_FILE: Final = _PAGE.with_suffix("") / "stages.json"
_RESULTS: Final = re.compile(r"(?<=<!-- stages -->\n).*(?=<!-- end of stages -->)", re.DOTALL)

PATH: Final = tuple(mark for mark in Mark if mark is not Mark.PUBLISHED)
"""The way of a message. Each stage is from one mark to the next."""
WHAT: Final = {
    Mark.FRAME: "the client's system call; the edge wakes up and reads",
    Mark.LANE: "limits, syntax, a request with an id",
    Mark.PUSH: "the batch is put into a task message",
    Mark.TASK: "the edge's system call; Redis pushes, and pops for the worker; the worker wakes up",
    Mark.HANDLER: "the task is decoded; Celery is passed by",
    Mark.STATEMENT: "the event is decoded, its handler called, the statement made",
    Mark.STORED: "a round trip to Postgres, which commits to the disk",
    Mark.PUBLICATION: "the answer is rendered",
    Mark.ENTRY: "Redis looks up edges and adds to streams; the edge wakes up and reads",
    Mark.ACK: "the entry is decoded, the frames are made",
    Mark.ACKED: "the edge's system call; the client wakes up and reads",
    Mark.PUBLISHED: "the worker has Redis' answer; the edge does not wait for that",
}
"""What happens before each mark, and after the one before it."""

Journey = Mapping[Mark, int]
"""When a message passed each mark, in ns."""


class Times(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds."""

    p50: float
    p90: float

    @classmethod
    def of(cls, spent_ns: Iterable[int]) -> "Times":
        """Return the percentiles."""
        cuts = statistics.quantiles([spent / 1e6 for spent in spent_ns], n=10, method="inclusive")
        return cls(round(cuts[4], 3), round(cuts[8], 3))


class Stages(msgspec.Struct, frozen=True):
    """What was measured, over all messages of all rounds."""

    pause_ms: int
    """How long the client waits between an ack and the next message."""
    messages: int
    stages: dict[Mark, Times]
    """From the mark before, up to each mark."""
    whole: Times
    """From when the client wrote until it had the ack."""
    whole_without_probes: Times
    cpu_ms: dict[str, float]
    """Milliseconds of CPU for a message, by kind of process, without probes."""


class _Client(Connection):
    """A client that notes when it writes a message and has its ack, and that acks nothing itself."""

    def __init__(self, number: int, auth: str) -> None:
        super().__init__(1, number, auth, _Client._note_ack)
        self._written_ns = 0
        self._answer: asyncio.Future[int]

    async def send_one(self) -> dict[Mark, int]:
        """Send a message and wait for its ack."""
        self._answer = asyncio.get_running_loop().create_future()
        self.send(time.perf_counter(), "x" * 40)
        async with asyncio.timeout(_ANSWER_S):
            acked_ns = await self._answer
        if self.sent.failed:
            raise BenchmarkFailed(f"message {len(self.sent.due_at) - 1} was refused")
        return {Mark.WRITTEN: self._written_ns, Mark.ACKED: acked_ns}

    def _note_ack(self: Connection) -> None:
        assert isinstance(self, _Client)
        self._answer.set_result(time.monotonic_ns())

    def _write(self, data: bytes) -> None:
        if data.startswith(b"43"):
            return
        if data.startswith(b"42"):
            self._written_ns = time.monotonic_ns()
        super()._write(data)


async def send(
    port: int,
    names: tuple[str, str],
    auths: tuple[str, str],
    messages: int,
    on_window: Callable[[], Any] = lambda: None,
    pause_s: float = 0.0,
) -> list[dict[Mark, int]]:
    """Send messages after those of the warm-up; return the client's marks of each, the warm-up's too.

    Pauses before each message that counts. Calls `on_window` before the first of them, and after the last.
    Raises BenchmarkFailed if a message was refused, or came not exactly once.
    """
    sender, recipient = clients = [_Client(number, auth) for number, auth in enumerate(auths)]
    for one in clients:
        await one.connect(port)
    sender.peer, recipient.peer = recipient, sender
    sender.peer_name, recipient.peer_name = names[1], names[0]
    sent = [await sender.send_one() for _ in range(WARM_UP)]
    on_window()
    for _ in range(messages):
        await asyncio.sleep(pause_s)
        sent.append(await sender.send_one())
    on_window()
    book = sender.sent
    until = time.perf_counter() + _ANSWER_S
    while book.delivered < len(sent) and time.perf_counter() < until:
        await asyncio.sleep(0.01)
    for one in clients:
        one.transport.disconnect(graceful=False)
    if book.doubled or book.delivered != len(sent):
        raise BenchmarkFailed(
            f"of {len(sent)} messages {book.delivered} were delivered, {book.doubled} doubled"
        )
    return sent


def program(folder: Path) -> tuple[str, ...]:
    """Return what runs the parts of a deployment so that they write their marks into a folder.

    Raises BenchmarkFailed if the code has lost a function at which marks are noted.
    """
    if missing := stage_probe.missing():
        raise BenchmarkFailed(
            f"{', '.join(missing)} is gone; let tests/benchmark/stage_probe.py follow the code"
        )
    return (sys.executable, "-m", stage_probe.__name__, str(folder))


def join(sent: Sequence[Mapping[Mark, int]], folder: Path) -> list[Journey]:
    """Return the journeys of the messages that count, from what client, edge and worker have noted.

    Raises BenchmarkFailed unless each has passed every mark once, in their order.
    """
    edge = {trail.number: trail for trail in stage_probe.read(folder, "edge")}
    worker: dict[str, list[tuple[Mark, int]]] = defaultdict(list)
    for trail in stage_probe.read(folder, "worker"):
        worker[trail.batch_id] += trail.passed
    journeys = []
    for number, own in list(enumerate(sent))[WARM_UP:]:
        at_edge = edge.get(number, Trail())
        passed = [*own.items(), *at_edge.passed, *worker[at_edge.batch_id]]
        journeys.append(_journey(number, passed))
    return journeys


def _journey(number: int, passed: Sequence[tuple[Mark, int]]) -> Journey:
    times: dict[Mark, list[int]] = {mark: [] for mark in Mark}
    for mark, at_ns in passed:
        times[mark].append(at_ns)
    for mark, found in times.items():
        if len(found) != 1:
            raise BenchmarkFailed(
                f"message {number} passed the mark '{mark}' {len(found)} times instead of once. "
                f"It is noted at {WHERE[mark]}; let tests/benchmark/stage_probe.py follow the code"
            )
    journey = {mark: at_ns for mark, (at_ns,) in times.items()}
    for earlier, later in pairwise(PATH):
        if journey[earlier] > journey[later]:
            raise BenchmarkFailed(f"message {number} passed '{later}' ({WHERE[later]}) before '{earlier}'")
    return journey


def stages_of(journeys: Sequence[Journey]) -> dict[Mark, Times]:
    """Return the time of each stage, under the mark that ends it."""
    ends = [*pairwise(PATH), (Mark.PUBLICATION, Mark.PUBLISHED)]
    return {end: Times.of(one[end] - one[begin] for one in journeys) for begin, end in ends}


def whole(sent: Iterable[Mapping[Mark, int]]) -> Times:
    """Return the time that the client saw."""
    return Times.of(one[Mark.ACKED] - one[Mark.WRITTEN] for one in sent)


def run(rounds: int, messages: int, pause_ms: int) -> Stages:
    """Measure so many rounds, each with and without probes, with so many messages."""
    pause_s = pause_ms / 1000
    journeys: list[Journey] = []
    plain: list[Mapping[Mark, int]] = []
    cpu_ms: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        field = Field(Path(name))
        try:
            for number in range(1, rounds + 1):
                print(f"pause of {pause_ms} ms: round {number} of {rounds}", file=sys.stderr)
                folder = Path(name) / f"marks-{number}"
                folder.mkdir()
                journeys += join(_run(field, messages, pause_s, program=program(folder))[0], folder)
                sent, spent_s = _run(field, messages, pause_s)
                plain += sent[WARM_UP:]
                for kind, seconds in spent_s.items():
                    cpu_ms[kind].append(seconds / messages * 1000)
        finally:
            field.close()
    return Stages(
        pause_ms=pause_ms,
        messages=len(journeys),
        stages=stages_of(journeys),
        whole=whole(journeys),
        whole_without_probes=whole(plain),
        cpu_ms={kind: round(statistics.mean(found), 3) for kind, found in cpu_ms.items()},
    )


def _run(
    field: Field, messages: int, pause_s: float, **options: Any
) -> tuple[list[dict[Mark, int]], dict[str, float]]:
    """Send messages through a system of their own; return the client's marks, and the CPU-seconds spent.

    When it returns, the processes have stopped.
    """
    with field.running("ours", **_UNTOUCHED, **options) as system:
        one, other = user_names(2)
        samples: list[measure.CpuTimes] = []

        def sample() -> None:
            samples.append(measure.cpu_times(field, system))

        auths = (system.auth(one), system.auth(other))
        sent = uvloop.run(send(system.ports[0], (one, other), auths, messages, sample, pause_s))
    return sent, measure.spent_s(*samples)


def table(found: Sequence[Stages]) -> str:
    """Return the table of stages, with two columns for each pause."""
    titles = [_title(one) for one in found]
    lines = [
        f"| stage | what happens | {' | '.join(f'{title}: p50 ms | p90 ms' for title in titles)} |",
        "| --- " * (2 + 2 * len(found)) + "|",
    ]
    for begin, end in pairwise(PATH):
        lines.append(f"| {begin} → {end} | {WHAT[end]} | {_cells(one.stages[end] for one in found)} |")
    sums = (f"{sum(one.stages[end].p50 for end in PATH[1:]):.2f} | " for one in found)
    lines += [
        f"| *the sum of these* | | {'| '.join(sums)}|",
        f"| **what the client saw** | | {_cells(one.whole for one in found)} |",
        f"| without the probes | | {_cells(one.whole_without_probes for one in found)} |",
        f"| *beside the way:* {Mark.PUBLICATION} → {Mark.PUBLISHED} | {WHAT[Mark.PUBLISHED]} "
        f"| {_cells(one.stages[Mark.PUBLISHED] for one in found)} |",
    ]
    return "\n".join(lines)


def cpu_table(found: Sequence[Stages]) -> str:
    """Return the table of CPU, with a line for each pause."""
    kinds = [kind for kind in found[0].cpu_ms if kind != "beat"]
    lines = [
        f"| CPU-ms for a lone message | {' | '.join(kinds)} | in all |",
        "| --- " * (len(kinds) + 2) + "|",
    ]
    for one in found:
        spent = [one.cpu_ms[kind] for kind in kinds]
        lines.append(f"| {_title(one)} | {' | '.join(f'{ms:.2f}' for ms in (*spent, sum(spent)))} |")
    return "\n".join(lines)


def _title(found: Stages) -> str:
    return f"after {found.pause_ms} ms" if found.pause_ms else "at once"


def _cells(times: Iterable[Times]) -> str:
    return " | ".join(f"{one.p50:.2f} | {one.p90:.2f}" for one in times)


def write(found: Sequence[Stages]) -> None:
    """Write the measurements and the tables."""
    _FILE.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    counts = " and ".join(f"{one.messages:,} {_title(one)}" for one in found)
    text = (
        f"\n{machine()} One edge, one worker, one pair, one message in flight: {counts}.\n\n"
        f"{table(found)}\n\n{cpu_table(found)}\n\n"
    )
    _PAGE.write_text(_RESULTS.sub(lambda _: text, _PAGE.read_text()))


def main() -> int:
    """Measure and write, or only print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is started and measured")
    parser.add_argument("--messages", type=int, default=500, help="messages in each measurement")
    parser.add_argument("--print", action="store_true", help="print the tables and write no file")
    options = parser.parse_args()
    try:
        found = [run(options.rounds, options.messages, pause_ms) for pause_ms in PAUSES_MS]
    except BenchmarkFailed as failure:
        print(f"The benchmark failed: {failure}.", file=sys.stderr)
        return 1
    print(table(found), cpu_table(found), sep="\n\n")
    if not options.print:
        write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
