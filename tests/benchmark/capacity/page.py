"""Writes the numbers into docs/capacity.md."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Final

from tests.benchmark.capacity.limits import limits
from tests.benchmark.capacity.measuring import LONE, SHARED
from tests.benchmark.capacity.needs import ONLINE, Assumptions, Costs, Needs, needs
from tests.benchmark.capacity.table import table
from tests.benchmark.capacity.unit_tables import cpu, growth, sizes
from tests.benchmark.capacity.units import Capacity

PAGE: Final = Path(__file__).parents[3] / "docs" / "capacity.md"
_PARTS: Final = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def written(page: str, capacity: Capacity) -> str:
    """Return the page with its numbers replaced."""
    given = Assumptions()
    parts: dict[str, Callable[[], str]] = {
        "measured": lambda: capacity.measured,
        "cpu": lambda: cpu(capacity),
        "bytes": lambda: sizes(capacity),
        "growth": lambda: growth(capacity),
        "assumptions": lambda: assumptions(given),
        "example": lambda: example(capacity, given),
        "limits": lambda: first(capacity, given),
    }

    def fill(found: re.Match[str]) -> str:
        text = parts[found[2]]() if capacity.units else "Not measured yet: run `make capacity`."
        return f"{found[1]}\n{text}\n\n{found[3]}"

    return _PARTS.sub(fill, page)


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
    return table(["assumption", "value"], rows)


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
    return table(
        ["users online", *(f"{online:,}" for online in ONLINE)],
        ([name, *(format(getattr(one, key), form) for one in found)] for key, (name, form) in _NEEDS.items()),
    )


def first(capacity: Capacity, given: Assumptions) -> str:
    """Return the table of what gives out first."""
    lone, shared = (limits(Costs.of(capacity, load), given) for load in (LONE, SHARED))
    pairs = sorted(zip(lone, shared, strict=True), key=lambda pair: pair[0].online)
    return table(
        ["what there is one of", "users online when it is full", "with shared batches", "what to do then"],
        ([one.part, _rounded(one.online), _rounded(other.online), one.then] for one, other in pairs),
    )


def _rounded(value: float) -> str:
    """Return a number with two digits that count."""
    return f"{float(f'{value:.2g}'):,.0f}"
