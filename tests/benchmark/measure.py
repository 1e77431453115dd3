"""Runs a load against a system and measures its cost."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

import msgspec
import psutil

from infra.local.tether import tether
from tests.benchmark.load import Connected, Finished, Report, Result, Spec, Window
from tests.benchmark.systems import Field, System, user_names

_runs = itertools.count(1)

CpuTimes = dict[str, dict[int, float]]
"""CPU-seconds by kind of process and by process."""


class BenchmarkFailed(Exception):
    """A system lost, duplicated or reordered messages. The message says how many."""


class Cost(msgspec.Struct, frozen=True):
    """A load, and the CPU-seconds that 1,000 of its messages took, by kind of process."""

    result: Result
    cpu_s: dict[str, float]
    connects_s: float
    probed: dict[str, float] = {}
    """By how much the counters of a probe grew for each message."""


class Loader:
    """The load generator's process."""

    def __init__(self, spec: msgspec.Struct, module: str = "tests.benchmark.load") -> None:
        self._process = subprocess.Popen(
            tether([sys.executable, "-m", module]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self._in: IO[str] = self._process.stdin  # type: ignore[assignment]
        self._out: IO[str] = self._process.stdout  # type: ignore[assignment]
        self._tell(msgspec.json.encode(spec).decode())

    def go_on(self) -> None:
        """Let it start the next part."""
        self._tell("")

    def read(self, kind: Any = Report) -> Any:
        """Return the next thing it reports, one of a type of reports."""
        line = self._out.readline()
        if not line:
            raise BenchmarkFailed("the load generator has ended; its error is above")
        return msgspec.json.decode(line, type=kind)

    def close(self) -> None:
        """Wait for it to end, or kill it."""
        with self._process:
            self._in.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _tell(self, line: str) -> None:
        self._in.write(line + "\n")
        self._in.flush()


def make_spec(system: System, users: int, *, first: int = 0, **load: Any) -> Spec:
    """Return the spec of a load on `system` with that many clients, each a user of its own."""
    known = user_names(users, first)
    auths = [system.auth(name) for name in known]
    return msgspec.convert(
        {"run": next(_runs), "ports": system.ports, "names": known, "auths": auths, **load}, Spec
    )


@contextmanager
def connected(spec: Spec) -> Iterator[tuple[Loader, Connected]]:
    """Connect the clients of `spec`; yield the loader and what it says of the connections."""
    loader = Loader(spec)
    try:
        report = loader.read()
        assert isinstance(report, Connected)
        yield loader, report
    finally:
        loader.close()


def run(
    field: Field,
    system: System,
    users: int,
    *,
    probe: Callable[[], dict[str, float]] = dict,
    **load: Any,
) -> Cost:
    """Put the load on the system, and read more counters with `probe` when the window begins and ends.

    Raises BenchmarkFailed when messages were lost or duplicated.
    """
    spec = make_spec(system, users, **load)
    stored = system.stored()
    with connected(spec) as (loader, found):
        loader.go_on()
        samples: list[CpuTimes] = []
        probed: list[dict[str, float]] = []
        while not isinstance(report := loader.read(), Finished):
            assert isinstance(report, Window)
            # The CPU that a probe takes is not counted.
            if report.at == "begin":
                probed.append(probe())
            samples.append(cpu_times(field, system, loader))
            if report.at == "end":
                probed.append(probe())
        loader.go_on()
    result = report.result
    thousands = max(result.messages_s * spec.measure_s / 1000, 1e-9)
    spent = {kind: round(seconds / thousands, 4) for kind, seconds in spent_s(*samples).items()}
    check(system, result, system.stored() - stored)
    grown = {name: (probed[1][name] - value) / thousands / 1000 for name, value in probed[0].items()}
    return Cost(result, spent, found.connects_s, grown)


def cpu_times(field: Field, system: System, loader: Loader | None = None) -> CpuTimes:
    """Return the CPU-seconds of each process until now.

    Processes are looked up every time: under load, pools open connections and Postgres starts processes.
    """
    processes = {**system.processes(), **field.engine_processes()}
    if loader:
        processes["load"] = [psutil.Process(loader.pid)]
    return {kind: _cpu_s(found) for kind, found in processes.items()}


def spent_s(begin: CpuTimes, end: CpuTimes) -> dict[str, float]:
    """Return the CPU-seconds between two times, by kind of process."""
    return {
        kind: sum(seconds - begin[kind].get(pid, 0.0) for pid, seconds in found.items())
        for kind, found in end.items()
    }


def memory_kb(system: System, kind: str) -> float:
    """Return the private memory of the processes of a kind."""
    return sum(process.memory_full_info().uss for process in system.processes()[kind]) / 1024


def check(system: System, result: Result, stored: int) -> None:
    """Raise BenchmarkFailed if messages were lost or duplicated."""
    wrong = {
        "missing": result.missing,
        "doubled": result.doubled,
        "errors": result.errors,
        "acked and not stored": max(0, result.acked - stored),
        # The peers write with several connections at once, so the messages of one sender overtake each other.
        "out of order": result.out_of_order if system.name == "BB-Gram" else 0,
        "stored twice": max(0, stored - result.sent),
        "message_sent lost or doubled": abs(result.own_events - result.acked),
    }
    if any(wrong.values()):
        raise BenchmarkFailed(f"{system.name}: " + ", ".join(f"{n} {what}" for what, n in wrong.items() if n))


def _cpu_s(processes: Sequence[psutil.Process]) -> dict[int, float]:
    """Return the CPU time in seconds of each process that is still running."""
    spent = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent[process.pid] = times.user + times.system
    return spent
