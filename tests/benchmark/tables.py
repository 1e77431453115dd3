"""Turns observations into what `docs/benchmarks.md` shows: ratios first, then absolute numbers."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.benchmark.measure import Cost
from tests.benchmark.plan import (
    BEYOND,
    CONNECTIONS,
    EDGES,
    EDGES_RATE,
    HEADLINE_PAIRS,
    IN_FLIGHT,
    NAIVE,
    NODE,
    OURS,
    PAIRS,
    RATES,
    STOCK,
    Closed,
    Edges,
    Idle,
    Lone,
    Observation,
    Open,
)

T = TypeVar("T")

LABELS = {OURS: "BB-Gram", NODE: "Node.js Socket.IO", STOCK: "python-socketio", NAIVE: "naive split"}
_PROCESSES = ("server", "edge", "worker", "beat", "postgres", "redis")


@dataclass(frozen=True)
class Spread:
    """Values of several rounds."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return minimum, median and maximum."""
        return cls(min(values), statistics.median(values), max(values))

    def cells(self, digits: int) -> str:
        """Return three cells of a table."""
        return " | ".join(f"{value:,.{digits}f}" for value in (self.low, self.middle, self.high))


class Observed:
    """All observations of a run. A series has a value for each round."""

    def __init__(self, observations: Iterable[Observation]) -> None:
        self._all = list(observations)

    def closed(self, system: str, pairs: int) -> list[Cost]:
        """Return the closed loops of a system."""
        return [o.cost for o in self._all if isinstance(o, Closed) and (o.system, o.pairs) == (system, pairs)]

    def lone(self, system: str) -> list[Cost]:
        """Return the runs of one pair with one message in flight."""
        return [o.cost for o in self._all if isinstance(o, Lone) and o.system == system]

    def open(self, system: str, rate: int) -> list[Cost]:
        """Return the open loops of a system."""
        return [o.cost for o in self._all if isinstance(o, Open) and (o.system, o.rate) == (system, rate)]

    def idle(self, system: str, connections: int) -> list[Idle]:
        """Return the idle connections of a system."""
        return [
            o for o in self._all if isinstance(o, Idle) and (o.system, o.connections) == (system, connections)
        ]

    def costs(self) -> list[Cost]:
        """Return all loads."""
        return [o.cost for o in self._all if not isinstance(o, Idle)]

    def edges(self, edges: int, *, is_full: bool = False) -> list[Cost]:
        """Return the runs with that many edges, at EDGES_RATE or at full load."""
        return [
            o.cost for o in self._all if isinstance(o, Edges) and (o.edges, o.is_full) == (edges, is_full)
        ]


def own_cpu(cost: Cost) -> float:
    """Return the CPU-seconds that edges and workers took for 1,000 messages."""
    return cost.cpu_s["edge"] + cost.cpu_s["worker"]


def ratios(observed: Observed) -> str:
    """Return the table of goals."""
    ours, node = (observed.closed(name, HEADLINE_PAIRS) for name in (OURS, NODE))
    stock, naive = (observed.closed(name, HEADLINE_PAIRS) for name in (STOCK, NAIVE))
    low, mid, high = (observed.open(OURS, rate) for rate in (200, 1_000, 4_000))
    most = CONNECTIONS[-1]

    def speed(cost: Cost) -> float:
        return cost.result.messages_s

    def p50(cost: Cost) -> float:
        return cost.result.ack.p50

    def p99(cost: Cost) -> float:
        return cost.result.ack.p99

    at = f"{HEADLINE_PAIRS} pairs x {IN_FLIGHT} in flight"
    rows = [
        (
            "p50 ack of one pair, one message in flight, against Node.js",
            "<= 4",
            _paired(observed.lone(OURS), observed.lone(NODE), p50),
        ),
        (f"durable messages/s at {at}, against Node.js", ">= 3", _paired(ours, node, speed)),
        (f"durable messages/s at {at}, against python-socketio", ">= 6.5", _paired(ours, stock, speed)),
        (f"durable messages/s at {at}, against the naive split", "", _paired(ours, naive, speed)),
        (
            "p99 ack at 4,000 messages/s, against Node.js",
            "<= 1.0",
            _paired(high, observed.open(NODE, 4_000), p99),
        ),
        (
            f"p99 ack at {BEYOND:,} messages/s, against Node.js",
            "",
            _paired(observed.open(OURS, BEYOND), observed.open(NODE, BEYOND), p99),
        ),
        ("p50 ack at 200 messages/s, against Node.js", "<= 1.7", _paired(low, observed.open(NODE, 200), p50)),
        ("p99 ack at 200 messages/s, against Node.js", "<= 1.7", _paired(low, observed.open(NODE, 200), p99)),
        ("p50 ack at 1,000 messages/s, against our own at 200", "<= 1.3", _paired(mid, low, p50)),
        (
            f"kB per idle websocket ({most:,} of them), not a ratio",
            "<= 15",
            [idle.kb_each for idle in observed.idle(OURS, most)],
        ),
        (
            f"kB per idle websocket ({most:,} of them), against python-socketio",
            "<= 0.75",
            _paired(observed.idle(OURS, most), observed.idle(STOCK, most), lambda idle: idle.kb_each),
        ),
        (
            "signed-in connects/s (ES256), against python-socketio without sign-in",
            ">= 1.8",
            _paired(observed.idle(OURS, most), observed.idle(STOCK, most), lambda idle: idle.connects_s),
        ),
        (
            f"CPU of edges and worker per message with 4 edges, against 1, at {EDGES_RATE:,} messages/s",
            "<= 1.2",
            _paired(observed.edges(4), observed.edges(1), own_cpu),
        ),
        (
            f"the same at {at}",
            "<= 1.15",
            _paired(observed.edges(4, is_full=True), observed.edges(1, is_full=True), own_cpu),
        ),
    ]
    lines = ["| ratio | goal | min | median | max |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {what} | {goal} | {Spread.of(values).cells(2)} |" for what, goal, values in rows]
    return "\n".join(lines)


def losses(observed: Observed) -> str:
    """Return how many messages were sent in all, and how many went wrong, which fails the benchmark."""
    results = [cost.result for cost in observed.costs()]
    wrong = ("errors", "missing", "doubled")
    counts = ", ".join(f"{name} {sum(getattr(one, name) for one in results)}" for name in wrong)
    return f"{sum(one.sent for one in results):,} messages were sent in all, to all systems: {counts}."


def lone(observed: Observed) -> str:
    """Return the table of one pair with one message in flight."""
    lines = [
        "| system | ack p50 ms: min | median | max | p99 | p99.9 | delivery p50 ms | p99 | p99.9 |",
        "| --- " * 9 + "|",
    ]
    for system in (OURS, NODE, STOCK):
        costs = observed.lone(system)
        middle = Spread.of([cost.result.ack.p50 for cost in costs]).cells(2)
        others = [*_medians(costs, "ack", 2)[1:], *_medians(costs, "delivery", 2)]
        cells = [LABELS[system], middle, *others]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def throughput(observed: Observed) -> str:
    """Return the table of closed loops."""
    lines = [
        "| system | pairs | messages/s: min | median | max | ack p50 ms | p99 | p99.9 "
        "| delivery p50 ms | p99 | p99.9 | overtaken |",
        "| --- " * 12 + "|",
    ]
    for system in (OURS, NODE, STOCK, NAIVE):
        for pairs in PAIRS:
            costs = observed.closed(system, pairs)
            if costs:
                speed = Spread.of([cost.result.messages_s for cost in costs]).cells(0)
                overtaken = sum(cost.result.out_of_order for cost in costs)
                lines.append(
                    f"| {LABELS[system]} | {pairs} | {speed} | {_latencies(costs)} | {overtaken:,} |"
                )
    return "\n".join(lines)


def latency(observed: Observed) -> str:
    """Return the table of open loops."""
    lines = [
        "| system | messages/s requested | reached | ack p50 ms: min | median | max "
        "| ack p99 ms: min | median | max | ack p99.9 ms | delivery p50 ms | p99 | p99.9 |",
        "| --- " * 13 + "|",
    ]
    for rate in RATES[OURS]:
        for system in (name for name in RATES if rate in RATES[name]):
            costs = observed.open(system, rate)
            reached = statistics.median(cost.result.messages_s for cost in costs)
            middle, tail = (
                Spread.of([getattr(cost.result.ack, name) for cost in costs]).cells(1)
                for name in ("p50", "p99")
            )
            others = [*_medians(costs, "ack")[2:], *_medians(costs, "delivery")]
            cells = (LABELS[system], f"{rate:,}", f"{reached:,.0f}", middle, tail, *others)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cpu(observed: Observed) -> str:
    """Return the table of CPU-seconds per 1,000 messages."""
    lines = [
        "| system | " + " | ".join(_PROCESSES) + " | load generator |",
        "| --- " * (len(_PROCESSES) + 2) + "|",
    ]
    for system in (OURS, NODE, STOCK, NAIVE):
        costs = observed.closed(system, HEADLINE_PAIRS)
        cells = [
            f"{statistics.median(cost.cpu_s[kind] for cost in costs):.3f}" if kind in costs[0].cpu_s else ""
            for kind in (*_PROCESSES, "load")
        ]
        lines.append(f"| {LABELS[system]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def connections(observed: Observed) -> str:
    """Return the table of idle connections."""
    lines = [
        "| system | connections | kB each: min | median | max | connects/s: min | median | max |",
        "| --- " * 8 + "|",
    ]
    for system in (OURS, STOCK):
        for count in CONNECTIONS:
            idle = observed.idle(system, count)
            memory = Spread.of([one.kb_each for one in idle]).cells(1)
            speed = Spread.of([one.connects_s for one in idle]).cells(0)
            lines.append(f"| {LABELS[system]} | {count:,} | {memory} | {speed} |")
    return "\n".join(lines)


def edges(observed: Observed) -> str:
    """Return the table of costs by number of edges."""
    lines = [
        "| edges | CPU-s per 1,000 messages, edges and worker, "
        f"at {EDGES_RATE:,} messages/s: min | median | max "
        f"| at {HEADLINE_PAIRS} pairs x {IN_FLIGHT}: min | median | max |",
        "| --- " * 7 + "|",
    ]
    for count in EDGES:
        both = (observed.edges(count), observed.edges(count, is_full=True))
        cells = (Spread.of([own_cpu(cost) for cost in costs]).cells(3) for costs in both)
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _paired(ones: Sequence[T], others: Sequence[T], value: Callable[[T], float]) -> list[float]:
    """Divide two series round by round."""
    return [value(one) / value(other) for one, other in zip(ones, others, strict=True)]


def _latencies(costs: Sequence[Cost]) -> str:
    """Return medians of the rounds: three cells for acks, three for deliveries."""
    return " | ".join([*_medians(costs, "ack"), *_medians(costs, "delivery")])


def _medians(costs: Sequence[Cost], kind: str, digits: int = 1) -> list[str]:
    """Return three cells for `ack` or `delivery`: p50, p99 and p99.9."""
    latencies = [getattr(cost.result, kind) for cost in costs]
    return [
        f"{statistics.median(getattr(one, name) for one in latencies):,.{digits}f}"
        for name in ("p50", "p99", "p999")
    ]
