"""What `make bench` measures: each round takes all systems in turn, so that noise hits them alike."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, Final

import msgspec

from tests.benchmark import measure
from tests.benchmark.measure import Cost
from tests.benchmark.systems import Field, System

OURS: Final = "ours"
NODE: Final = "node"
STOCK: Final = "python-socketio"
NAIVE: Final = "naive split"

PAIRS: Final = (10, 50, 200, 400)
IN_FLIGHT: Final = 4
HEADLINE_PAIRS: Final = 200
BEYOND: Final = 6_000
"""Messages/s of an open loop at which Node.js cannot keep up here."""
RATES: Final = {
    OURS: (200, 1_000, 2_000, 4_000, BEYOND),
    NODE: (200, 1_000, 2_000, 4_000, BEYOND),
    STOCK: (200, 1_000, 2_000, 4_000),
}
CONNECTIONS: Final = (500, 1_000, 2_000)
EDGES: Final = (1, 2, 4)
EDGES_RATE: Final = 2_000
"""Messages/s at which the cost of a message is compared for 1, 2 and 4 edges."""

_TAIL = 2_000
"""Minimum of messages in the window of an open loop, so that p99 does not depend on a few."""

_SETTLE_S = 2.0
"""By then a server has finished what it does after clients connect."""


class Closed(msgspec.Struct, frozen=True, tag=True):
    """A closed loop: `pairs` x IN_FLIGHT."""

    system: str
    pairs: int
    cost: Cost


class Lone(msgspec.Struct, frozen=True, tag=True):
    """One pair with one message in flight: nothing is shared, and nothing waits."""

    system: str
    cost: Cost


class Open(msgspec.Struct, frozen=True, tag=True):
    """An open loop at `rate` messages/s of HEADLINE_PAIRS pairs."""

    system: str
    rate: int
    cost: Cost


class Idle(msgspec.Struct, frozen=True, tag=True):
    """Idle connections: the memory they take and how fast they are made."""

    system: str
    connections: int
    kb_each: float
    connects_s: float


class Edges(msgspec.Struct, frozen=True, tag=True):
    """The same load spread over several edges: EDGES_RATE or, at full load, HEADLINE_PAIRS x IN_FLIGHT."""

    edges: int
    cost: Cost
    is_full: bool = False


Observation = Closed | Lone | Open | Idle | Edges


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int = 5
    warm_up_s: float = 1.5
    measure_s: float = 4.0


def run(field: Field, plan: Plan, say: Callable[[str], None]) -> Iterator[Observation]:
    """Measure in rounds. Raises BenchmarkFailed when a message is lost, duplicated or out of order."""
    window: dict[str, Any] = {"warm_up_s": plan.warm_up_s, "measure_s": plan.measure_s}
    for number in range(1, plan.rounds + 1):
        for name in (OURS, NODE, STOCK):
            say(f"round {number} of {plan.rounds}: {name}")
            with field.running(name) as system:
                yield from _loads(field, system, name, window)
        say(f"round {number} of {plan.rounds}: {NAIVE}")
        with field.running(NAIVE) as system:
            yield Closed(NAIVE, HEADLINE_PAIRS, _closed(field, system, HEADLINE_PAIRS, window))
        for name in (OURS, STOCK):
            say(f"round {number} of {plan.rounds}: {name}, idle connections")
            yield from _idle(field, name)
        for edges in EDGES:
            say(f"round {number} of {plan.rounds}: {edges} edges")
            with field.running(OURS, edges=edges) as system:
                cost = measure.run(field, system, 2 * HEADLINE_PAIRS, rate=EDGES_RATE, **window)
                yield Edges(edges, cost)
                yield Edges(edges, _closed(field, system, HEADLINE_PAIRS, window), is_full=True)


def _loads(field: Field, system: System, name: str, window: dict[str, Any]) -> Iterator[Observation]:
    """Load it, from light to heavy: what a heavy load leaves for the disk to write would hit the next one."""
    yield Lone(name, measure.run(field, system, 2, in_flight=1, **window))
    for rate in RATES[name]:
        longer = {**window, "measure_s": max(window["measure_s"], _TAIL / rate)}
        yield Open(name, rate, measure.run(field, system, 2 * HEADLINE_PAIRS, rate=rate, **longer))
    for pairs in PAIRS:
        yield Closed(name, pairs, _closed(field, system, pairs, window))


def _closed(field: Field, system: System, pairs: int, window: dict[str, Any]) -> Cost:
    return measure.run(field, system, 2 * pairs, in_flight=IN_FLIGHT, **window)


def _idle(field: Field, name: str) -> Iterator[Observation]:
    kind = "edge" if name == OURS else "server"
    with field.running(name) as system, ExitStack() as held:
        # The first connections pay for what is made once.
        with measure.connected(measure.make_spec(system, 20)):
            time.sleep(_SETTLE_S)
        before_kb = measure.memory_kb(system, kind)
        for there, connections in pairwise((0, *CONNECTIONS)):
            spec = measure.make_spec(system, connections - there, first=there)
            _, found = held.enter_context(measure.connected(spec))
            time.sleep(_SETTLE_S)
            kb_each = (measure.memory_kb(system, kind) - before_kb) / connections
            yield Idle(name, connections, round(kb_each, 2), round(found.connects_s, 1))
