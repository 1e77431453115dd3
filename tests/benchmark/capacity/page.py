"""Writes the numbers into docs/capacity.md."""

import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

from tests.benchmark.capacity.limits import limits
from tests.benchmark.capacity.measuring import GROWN, LOADS, LONE, MANY, SHARED, TOGETHER
from tests.benchmark.capacity.needs import ONLINE, Assumptions, Costs, Needs, needs
from tests.benchmark.capacity.units import Capacity, Load, Message, Socket

PAGE: Final = Path(__file__).parents[3] / "docs" / "capacity.md"
_KINDS: Final = ("edge", "worker", "postgres", "redis")
_PARTS: Final = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def written(page: str, capacity: Capacity) -> str:
    """Return the page with its numbers replaced."""
    parts = {
        "measured": capacity.measured,
        "cpu": cpu(capacity),
        "bytes": sizes(capacity),
        "growth": growth(capacity),
        "assumptions": assumptions(Assumptions()),
        "example": example(capacity, Assumptions()),
        "limits": first(capacity, Assumptions()),
    }
    return _PARTS.sub(lambda found: f"{found[1]}\n{parts[found[2]]}\n\n{found[3]}", page)


def cpu(capacity: Capacity) -> str:
    """Return the table of CPU."""
    rows = [
        (f"a message, {_name(load)}, ms", [one.cpu_ms for one in capacity.messages(load)]) for load in LOADS
    ]
    rows.append(("a connect, ms", [one.connect_ms for one in capacity.sockets()]))
    rows.append(("an idle socket, us each second", [one.idle_us for one in capacity.sockets()]))
    return _table(
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
    messages = _table(
        ["bytes of", *(f"at {load.rate:,} messages/s" for load in loads)],
        (
            [what, *(_spread([value(one) for one in capacity.messages(load)], 0) for load in loads)]
            for what, value in of_message
        ),
    )
    sockets = _table(
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
    return _table(
        ["CPU of a message, from", "edges", "worker", "Postgres", "Redis"],
        (
            [what, *(_ratio(capacity, before, after, kind) for kind in _KINDS)]
            for what, before, after in pairs
        ),
    )


def assumptions(given: Assumptions) -> str:
    """Return the table of assumptions."""
    rows = [
        ("messages that an online user sends in the busiest hour", f"{given.messages:g}"),
        ("busiest hours in which a day's messages would be sent", f"{given.busy_hours:g}"),
        ("sockets of an online user", f"{given.sockets:g}"),
        ("connects of a socket in an hour, because phones put apps to sleep", f"{given.connects:g}"),
        ("a core is at most busy", f"{given.core:.0%}"),
        ("sockets of an edge at most", f"{given.sockets_per_edge:,}"),
        ("spare edges and workers", "1 of each"),
        ("days for which messages stay in Postgres", f"{given.days}"),
        (
            "the largest Postgres",
            f"{given.postgres_cores} cores, {given.postgres_tb:g} TB, {given.wal_mb_s:g} MB/s of log",
        ),
        ("the largest Redis", f"{given.redis_gb:g} GB, {given.network_gbit_s:g} Gbit/s"),
    ]
    return _table(["assumption", "value"], rows)


_NEEDS: Final[dict[str, tuple[str, str]]] = {
    "sockets": ("sockets", ",.0f"),
    "messages_s": ("messages/s", ",.0f"),
    "connects_s": ("connects/s", ",.0f"),
    "edges": ("edges (a process and a core each), with the spare one", ","),
    "edge_messages_s": ("messages/s of each edge", ",.0f"),
    "edge_mb": ("MB of sockets in each edge", ",.0f"),
    "workers": ("workers (a process and a core each), with the spare one", ","),
    "postgres_cores": ("busy cores of Postgres", ",.2f"),
    "redis_cores": ("busy cores of Redis, of one", ",.2f"),
    "redis_mb": ("MB in Redis: who is online, full streams of all edges", ",.0f"),
    "wal_mb_s": ("MB/s of log of Postgres", ",.1f"),
    "stored_tb": ("TB of messages after the days above", ",.2f"),
    "client_mbit_s": ("Mbit/s of clients", ",.0f"),
    "redis_mbit_s": ("Mbit/s of Redis", ",.0f"),
}


def example(capacity: Capacity, given: Assumptions) -> str:
    """Return the table of what users need."""
    costs = Costs.of(capacity, LONE)
    found = [needs(costs, given, online) for online in ONLINE]
    assert {field.name for field in fields(Needs)} == {"online", *_NEEDS}
    return _table(
        ["users online", *(f"{online:,}" for online in ONLINE)],
        ([name, *(format(getattr(one, key), form) for one in found)] for key, (name, form) in _NEEDS.items()),
    )


def first(capacity: Capacity, given: Assumptions) -> str:
    """Return the table of what gives out first."""
    lone, shared = (limits(Costs.of(capacity, load), given) for load in (LONE, SHARED))
    pairs = sorted(zip(lone, shared, strict=True), key=lambda pair: pair[0].online)
    return _table(
        ["what there is one of", "users online when it is full", "with shared batches", "what to do then"],
        ([one.part, _rounded(one.online), _rounded(other.online), one.then] for one, other in pairs),
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


def _rounded(value: float) -> str:
    """Return a number with two digits that count."""
    return f"{float(f'{value:.2g}'):,.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    line: Callable[[Sequence[str]], str] = lambda cells: f"| {' | '.join(cells)} |"  # noqa: E731
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])
