"""`POST /v1/messages` with a single message and with 100, beside the socket.

`python -m tests.benchmark.calls` writes the table in docs/benchmarks.md, as `make bench` does.
"""

import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.benchmark import measure
from tests.benchmark.caller import Called, CallSpec
from tests.benchmark.load import Latency
from tests.benchmark.machine import machine
from tests.benchmark.measure import BenchmarkFailed, Loader
from tests.benchmark.part import run_part
from tests.benchmark.systems import Field, System
from tests.harness.deployment import user_id_of
from tests.harness.server_api import API_KEYS, KEY

IN_FLIGHT: Final = 4
SHAPES: Final = {1: 10, 100: 100}
"""Messages of a call, and pairs of clients. As many messages are in flight as these pairs have on sockets."""
_WINDOW: Final[dict[str, Any]] = {"warm_up_s": 1.5, "measure_s": 4.0}

_PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_FILE: Final = _PAGE.with_suffix("") / "calls.json"
_RESULTS: Final = re.compile(r"(?<=<!-- calls -->\n).*(?=<!-- end of calls -->)", re.DOTALL)

TEXT: Final = f"""\
A closed loop of `POST /v1/messages`, each call with an `Idempotency-Key`, beside one of `send_message` with
as many messages in flight: {SHAPES[1]} pairs x {IN_FLIGHT} beside calls with a single message,
{SHAPES[100]} pairs x {IN_FLIGHT} beside calls with 100. In both, all senders and recipients have sockets,
and hear of each message. The time of a call is that of the whole call."""
"""What the runs are, for docs/benchmarks.md."""


class Beside(msgspec.Struct, frozen=True):
    """One load over HTTP, and the same over sockets."""

    at_once: int
    called: Called
    socket_messages_s: float
    socket_ack: Latency


def run(field: Field, at_once: int) -> Beside:
    """Measure one shape. Raises BenchmarkFailed if a message was lost or stored twice."""
    pairs = SHAPES[at_once]
    with field.running("ours", api_keys=API_KEYS) as system:
        sent = measure.run(field, system, 2 * pairs, in_flight=IN_FLIGHT, **_WINDOW).result
        called = _call(system, pairs, at_once)
    return Beside(at_once, called, sent.messages_s, sent.ack)


def _call(system: System, pairs: int, at_once: int) -> Called:
    spec = measure.make_spec(system, 2 * pairs)
    stored = system.stored()
    with measure.connected(spec) as (clients, _):
        calls = CallSpec(
            port=system.ports[0],
            key=KEY,
            pairs=list(pairwise(map(user_id_of, spec.names)))[::2],
            connections=pairs * IN_FLIGHT // at_once,
            at_once=at_once,
            **_WINDOW,
        )
        loader = Loader(calls, "tests.benchmark.caller")
        try:
            called: Called = loader.read(Called)
        finally:
            loader.close()
        clients.go_on()
    if called.failed or system.stored() - stored != called.stored:
        raise BenchmarkFailed(
            f"calls: {called.failed} failed, {system.stored() - stored} of {called.stored} are stored"
        )
    return called


def table(found: Sequence[Beside]) -> str:
    """Return the table: medians of the rounds, and the ratios of each round."""
    lines = [
        "| messages of a call | messages/s | call p50 ms | p99 | sockets: messages/s | ack p50 ms | p99 "
        "| messages/s against sockets: min | median | max | p50: min | median | max "
        "| p99: min | median | max |",
        "| --- " * 16 + "|",
    ]
    for at_once in SHAPES:
        some = [one for one in found if one.at_once == at_once]
        cells = [
            *(_median(some, value) for value in (_speed, lambda one: one.called.answer.p50)),
            _median(some, lambda one: one.called.answer.p99),
            _median(some, lambda one: one.socket_messages_s),
            _median(some, lambda one: one.socket_ack.p50),
            _median(some, lambda one: one.socket_ack.p99),
            _spread(_speed(one) / one.socket_messages_s for one in some),
            _spread(one.called.answer.p50 / one.socket_ack.p50 for one in some),
            _spread(one.called.answer.p99 / one.socket_ack.p99 for one in some),
        ]
        lines.append(f"| {at_once} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _speed(one: Beside) -> float:
    return one.called.messages_s


def _median(some: Sequence[Beside], value: Callable[[Beside], float]) -> str:
    return f"{statistics.median(map(value, some)):,.1f}"


def _spread(ratios: Iterator[float]) -> str:
    values = list(ratios)
    return " | ".join(f"{value:.2f}" for value in (min(values), statistics.median(values), max(values)))


def measure_calls(rounds: int) -> list[Beside]:
    """Measure both shapes, so often."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        field = Field(Path(folder))
        try:
            for number in range(1, rounds + 1):
                for at_once in SHAPES:
                    print(f"round {number} of {rounds}: calls with {at_once}", file=sys.stderr)
                    found.append(run(field, at_once))
        finally:
            field.close()
    return found


def write(found: Sequence[Beside]) -> None:
    """Write the measurements and the table."""
    _FILE.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    rounds = len(found) // len(SHAPES)
    text = f"\n{machine()} {rounds} rounds.\n\n{TEXT}\n\n{table(found)}\n\n"
    _PAGE.write_text(_RESULTS.sub(lambda _: text, _PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(run_part(__doc__ or "", measure_calls, table, write))
