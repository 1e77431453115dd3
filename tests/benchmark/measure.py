"""Runs a load against a system and measures its cost."""

import itertools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

import msgspec
import psutil

from infra.local.tether import tether
from tests.benchmark.load import Connected, Finished, Report, Result, Spec, Window
from tests.benchmark.systems import Field, System, user_names

_runs = itertools.count(1)


class BenchmarkFailed(Exception):
    """A system lost, duplicated or reordered messages. The message says how many."""


class Cost(msgspec.Struct, frozen=True):
    """A load, and the CPU-seconds that 1,000 of its messages took, by kind of process."""

    result: Result
    cpu_s: dict[str, float]
    connects_s: float


class _Loader:
    """The load generator's process."""

    def __init__(self, spec: Spec) -> None:
        self._process = subprocess.Popen(
            tether([sys.executable, "-m", "tests.benchmark.load"]),
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

    def read(self) -> Report:
        """Return the next thing it reports."""
        line = self._out.readline()
        if not line:
            raise BenchmarkFailed("the load generator has ended; its error is above")
        report: Report = msgspec.json.decode(line, type=Report)
        return report

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
def connected(spec: Spec) -> Iterator[tuple[_Loader, float]]:
    """Connect the clients of `spec`; yield the loader and the connections per second."""
    loader = _Loader(spec)
    try:
        report = loader.read()
        assert isinstance(report, Connected)
        yield loader, report.connects_s
    finally:
        loader.close()


def run(field: Field, system: System, users: int, **load: Any) -> Cost:
    """Put the load on the system. Raises BenchmarkFailed when messages were lost or duplicated."""
    spec = make_spec(system, users, **load)
    stored = system.stored()
    with connected(spec) as (loader, connects_s):
        loader.go_on()
        samples: list[dict[str, dict[int, float]]] = []
        while not isinstance(report := loader.read(), Finished):
            assert isinstance(report, Window)
            # Looked up every time: under load, pools open connections and Postgres starts processes.
            processes = {
                **system.processes(),
                **field.engine_processes(),
                "load": [psutil.Process(loader.pid)],
            }
            samples.append({kind: _cpu_s(found) for kind, found in processes.items()})
        loader.go_on()
    result = report.result
    thousands = max(result.messages_s * spec.measure_s / 1000, 1e-9)
    begin, end = samples
    spent = {
        kind: round(sum(s - begin[kind].get(pid, 0.0) for pid, s in found.items()) / thousands, 4)
        for kind, found in end.items()
    }
    _check(system, result, system.stored() - stored)
    return Cost(result, spent, connects_s)


def memory_kb(system: System, kind: str) -> float:
    """Return the private memory of the processes of a kind."""
    return sum(process.memory_full_info().uss for process in system.processes()[kind]) / 1024


def _check(system: System, result: Result, stored: int) -> None:
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
