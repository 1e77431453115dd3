"""How 4,000 clients of two edges fare when one edge is stopped, or killed.

`python -m tests.benchmark.drain` writes the table in docs/benchmarks.md, as `make bench` does.
"""

import re
import resource
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from tests.benchmark.crowd import Moved, Scene
from tests.benchmark.load import Connected, Window
from tests.benchmark.machine import machine
from tests.benchmark.measure import BenchmarkFailed, Loader, check, make_spec
from tests.benchmark.part import run_part
from tests.benchmark.systems import Field, Ours

SOCKETS: Final = 4_000
SENDERS: Final = 200
RATE: Final = 200
"""Messages/s that the senders on the other edge send."""
_CALM_S: Final = 5.0
_FILES: Final = SOCKETS + 1_000

_PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_FILE: Final = _PAGE.with_suffix("") / "drain.json"
_RESULTS: Final = re.compile(r"(?<=<!-- drain -->\n).*(?=<!-- end of drain -->)", re.DOTALL)

Way = Literal["stopped", "killed"]
WAYS: Final[tuple[Way, ...]] = get_args(Way)
_SIGNALS: Final = {"stopped": signal.SIGTERM, "killed": signal.SIGKILL}


TEXT: Final = f"""\
{SOCKETS:,} clients are on two edges. One edge gets SIGTERM, and lets its clients go over
`DRAIN_S`; in other runs it is killed. Its clients come back as socket.io-client does, after 0.5 to 1.5 s, or
later if that fails. They come to the other edge, as behind a load balancer that knows which edge is ready.
Each has a chat with another client, who hears that it goes and comes. *The others* are {SENDERS} clients on
the edge that stays, who send {RATE} messages/s in an open loop; none of their messages was lost."""
"""What the runs are, for docs/benchmarks.md."""


class Left(msgspec.Struct, frozen=True):
    """An edge has left."""

    way: Way
    moved: Moved


def run(field: Field, way: Way) -> Left:
    """Let one of two edges leave. Raises BenchmarkFailed if a message of the others was lost."""
    _allow_files()
    with field.running("ours", edges=2) as system:
        assert isinstance(system, Ours)
        stays, leaves = system.ports
        senders = make_spec(system, SENDERS, rate=RATE, measure_s=_CALM_S)
        crowd = make_spec(system, SOCKETS - SENDERS, first=SENDERS)
        scene = Scene(senders=msgspec.structs.replace(senders, ports=[stays]), crowd=crowd, leaves=leaves)
        loader = Loader(scene, "tests.benchmark.crowd")
        try:
            loader.read(Connected)
            stored = system.stored()
            loader.go_on()
            loader.read(Window)
            system.signal_edge(leaves, _SIGNALS[way])
            moved: Moved = loader.read(Moved)
            check(system, moved.meanwhile, system.stored() - stored)
            loader.go_on()
        finally:
            loader.close()
    return Left(way, moved)


def _allow_files() -> None:
    """Let this process and those it starts open as many sockets as needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        if hard != resource.RLIM_INFINITY and hard < _FILES:
            raise BenchmarkFailed(f"{_FILES:,} open files are needed, and {hard:,} are allowed (ulimit -n)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, hard))


def table(found: Sequence[Left]) -> str:
    """Return the table: for each way the median of the runs, and the spread of what matters most."""
    lines = [
        "| one edge is | clients that move | all signed in again after s: min | median | max "
        "| a client is away s: p50 | p99 | sign-ins in the busiest second | attempts that failed "
        "| ack p99 ms of the others before | meanwhile: min | median | max |",
        "| --- " * 13 + "|",
    ]
    for way in WAYS:
        runs = [one.moved for one in found if one.way == way]
        served, meanwhile = [one.served_s for one in runs], [one.meanwhile.ack.p99 for one in runs]
        middle = [
            statistics.median(values)
            for values in (
                [one.away.p50 / 1000 for one in runs],
                [one.away.p99 / 1000 for one in runs],
                [one.most_sign_ins for one in runs],
                [one.failures for one in runs],
                [one.before.ack.p99 for one in runs],
            )
        ]
        cells = [
            way,
            f"{statistics.median(one.clients for one in runs):,.0f}",
            *(f"{value:.1f}" for value in (min(served), statistics.median(served), max(served))),
            *(f"{value:.1f}" for value in middle[:2]),
            *(f"{value:,.0f}" for value in middle[2:4]),
            *(
                f"{value:.1f}"
                for value in (middle[4], min(meanwhile), statistics.median(meanwhile), max(meanwhile))
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(rounds: int) -> list[Left]:
    """Let an edge leave in each way, so often."""
    with tempfile.TemporaryDirectory() as folder:
        field = Field(Path(folder))
        try:
            return list(_measure(field, rounds))
        finally:
            field.close()


def _measure(field: Field, rounds: int) -> Iterator[Left]:
    for number in range(1, rounds + 1):
        for way in WAYS:
            print(f"round {number} of {rounds}: an edge is {way}", file=sys.stderr)
            yield run(field, way)


def write(found: Sequence[Left]) -> None:
    """Write the measurements and the table."""
    _FILE.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    rounds = len(found) // len(WAYS)
    text = f"\n{machine()} {rounds} rounds.\n\n{TEXT}\n\n{table(found)}\n\n"
    _PAGE.write_text(_RESULTS.sub(lambda _: text, _PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(run_part(__doc__ or "", measure, table, write))
