"""The tables of unit costs."""

import statistics
from collections.abc import Callable, Sequence
from typing import Final

from tests.benchmark.capacity.measuring import GROWN, LOADS, LONE, MANY, SHARED, TOGETHER
from tests.benchmark.capacity.table import table
from tests.benchmark.capacity.units import Capacity, Load, Message, Socket

_KINDS: Final = ("edge", "worker", "postgres", "redis")


def cpu(capacity: Capacity) -> str:
    """Return the table of CPU."""
    rows = [
        (f"a message, {_name(load)}, ms", [one.cpu_ms for one in capacity.messages(load)]) for load in LOADS
    ]
    rows.append(("a connect, ms", [one.connect_ms for one in capacity.sockets()]))
    rows.append(("an idle socket, us each second", [one.idle_us for one in capacity.sockets()]))
    return table(
        ["CPU of", "edges", "worker", "Postgres", "Redis"],
        ([what, *(_spread([one[kind] for one in found]) for kind in _KINDS)] for what, found in rows),
    )


def sizes(capacity: Capacity) -> str:
    """Return the table of bytes."""
    of_message: list[tuple[str, Callable[[Message], float]]] = [
        ("a message: frames from clients", lambda one: one.client_in),
        ("a message: frames to clients", lambda one: one.client_out),
        ("a message: into Redis", lambda one: one.redis_in),
        ("a message: out of Redis", lambda one: one.redis_out),
        ("an entry in the stream of an edge: memory of Redis", lambda one: one.entry_bytes),
        ("a message: log of Postgres", lambda one: one.wal),
        ("a stored message, with indexes", lambda one: one.stored),
    ]
    of_socket: list[tuple[str, Callable[[Socket], float]]] = [
        ("a connect: frames from the client", lambda one: one.connect_in),
        ("a connect: frames to the client", lambda one: one.connect_out),
        ("a user who is online: memory of Redis", lambda one: one.redis_bytes),
        ("an idle socket: memory of the edge", lambda one: one.edge_kb * 1024),
    ]
    loads = (LONE, SHARED)
    messages = table(
        ["bytes of", *(f"at {load.rate:,} messages/s" for load in loads)],
        (
            [what, *(_spread([value(one) for one in capacity.messages(load)], 0) for load in loads)]
            for what, value in of_message
        ),
    )
    sockets = table(
        ["bytes of", "with any number of messages"],
        ([what, _spread([value(one) for one in capacity.sockets()], 0)] for what, value in of_socket),
    )
    return f"{messages}\n\n{sockets}"


def growth(capacity: Capacity) -> str:
    """Return by how much a message costs more when there are more edges, or more messages."""
    one_edge, two = TOGETHER, next(load for load in LOADS if load.edges == 2 and load.rate == TOGETHER.rate)
    pairs = [
        ("1 to 2 edges, and the two users are on different ones", one_edge, two),
        ("2 to 4 edges", two, MANY),
        (f"0 to {GROWN.older:,} older messages", one_edge, GROWN),
        (f"{LONE.rate:,} to {SHARED.rate:,} messages/s, with 2 edges", LONE, SHARED),
    ]
    return table(
        ["CPU of a message, from", "edges", "worker", "Postgres", "Redis"],
        (
            [what, *(_ratio(capacity, before, after, kind) for kind in _KINDS)]
            for what, before, after in pairs
        ),
    )


def _name(load: Load) -> str:
    edges = "1 edge" if load.edges == 1 else f"{load.edges} edges, users apart"
    older = f", {load.older:,} older messages" if load.older else ""
    return f"{edges}, {load.rate:,} messages/s{older}"


def _ratio(capacity: Capacity, before: Load, after: Load, kind: str) -> str:
    """Return by how much the CPU of a kind of process changed, from the runs of the same round."""
    pairs = zip(capacity.messages(before), capacity.messages(after), strict=True)
    return "x " + _spread([other.cpu_ms[kind] / one.cpu_ms[kind] for one, other in pairs], 2)


def _spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the median, and what it lies between."""
    middle = f"{statistics.median(values):,.{digits}f}"
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
