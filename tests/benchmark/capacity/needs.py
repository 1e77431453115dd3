"""Computes from the unit costs what a number of users needs."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmark.capacity.units import KINDS, Capacity, Load, Message, Socket
from workers.publish import _INBOX_ENTRIES

ONLINE: Final = (10_000, 100_000, 1_000_000)
_HOUR_S: Final = 3_600
_MBIT: Final = 1e6 / 8


@dataclass(frozen=True)
class Assumptions:
    """What users do, and how full a part may be."""

    messages: float = 20
    """Messages that an online user sends in an hour, when most are online."""
    sockets: float = 1.5
    """Sockets of an online user."""
    connects: float = 4
    """How often a socket is connected in an hour: phones put apps to sleep."""
    busy_hours: float = 8
    """A day has the messages of so many busy hours."""
    core: float = 0.5
    """How busy a core may be."""
    sockets_per_edge: int = 10_000
    """So many clients come back at once when an edge is killed."""
    days: int = 365
    """How long messages stay in Postgres."""
    postgres_cores: int = 32
    postgres_tb: float = 8
    wal_mb_s: float = 100
    redis_gb: float = 32
    network_gbit_s: float = 10
    """The largest machines to be had without effort."""


@dataclass(frozen=True)
class Costs:
    """Medians of the unit costs."""

    message_ms: Mapping[str, float]
    connect_ms: Mapping[str, float]
    idle_us: Mapping[str, float]
    edge_kb: float
    redis_bytes: float
    client_bytes: float
    redis_network: float
    wal: float
    stored: float
    entry_bytes: float

    @classmethod
    def of(cls, capacity: Capacity, load: Load) -> "Costs":
        """Return the medians of all rounds, for messages as they were under a load."""
        messages, sockets = capacity.messages(load), capacity.sockets()

        def cpu(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
            # A cost within the noise may have been measured as less than nothing.
            return {kind: max(0.0, statistics.median(one[kind] for one in found)) for kind in KINDS}

        def of_message(value: Callable[[Message], float]) -> float:
            return statistics.median(value(one) for one in messages)

        def of_socket(value: Callable[[Socket], float]) -> float:
            return max(0.0, statistics.median(value(one) for one in sockets))

        return cls(
            message_ms=cpu([one.cpu_ms for one in messages]),
            connect_ms=cpu([one.connect_ms for one in sockets]),
            idle_us=cpu([one.idle_us for one in sockets]),
            edge_kb=of_socket(lambda one: one.edge_kb),
            redis_bytes=of_socket(lambda one: one.redis_bytes),
            client_bytes=of_message(lambda one: one.client_in + one.client_out),
            redis_network=of_message(lambda one: one.redis_in + one.redis_out),
            wal=of_message(lambda one: one.wal),
            stored=of_message(lambda one: one.stored),
            entry_bytes=of_message(lambda one: one.entry_bytes),
        )


@dataclass(frozen=True)
class Needs:
    """What users need in the busiest hour."""

    online: int
    sockets: float
    messages_s: float
    connects_s: float
    edges: int
    edge_messages_s: float
    """Messages/s of an edge."""
    edge_mb: float
    """Memory of all sockets of an edge, beyond that of an edge without clients."""
    workers: int
    postgres_cores: float
    """Cores that are busy all the time; likewise for Redis, which has one for its commands."""
    redis_cores: float
    redis_mb: float
    wal_mb_s: float
    stored_tb: float
    client_mbit_s: float
    redis_mbit_s: float


def needs(costs: Costs, given: Assumptions, online: int) -> Needs:
    """Return what that many users need."""
    sockets = online * given.sockets
    messages_s = online * given.messages / _HOUR_S
    connects_s = sockets * given.connects / _HOUR_S

    def cores(kind: str, emits: float = 1) -> float:
        return (
            messages_s * costs.message_ms[kind] * emits + connects_s * costs.connect_ms[kind]
        ) / 1e3 + sockets * costs.idle_us[kind] / 1e6

    # A message goes to all sockets of both users: at most so many times the cost of one socket each.
    edges = 1 + math.ceil(max(cores("edge", given.sockets) / given.core, sockets / given.sockets_per_edge))
    return Needs(
        online=online,
        sockets=sockets,
        messages_s=messages_s,
        connects_s=connects_s,
        edges=edges,
        edge_messages_s=messages_s / edges,
        edge_mb=sockets / edges * costs.edge_kb / 1024,
        workers=1 + math.ceil(cores("worker") / given.core),
        postgres_cores=cores("postgres"),
        redis_cores=cores("redis"),
        redis_mb=(online * costs.redis_bytes + edges * _INBOX_ENTRIES * costs.entry_bytes) / 2**20,
        wal_mb_s=messages_s * costs.wal / 1e6,
        stored_tb=messages_s * _HOUR_S * given.busy_hours * given.days * costs.stored / 1e12,
        client_mbit_s=messages_s * costs.client_bytes * given.sockets / _MBIT,
        redis_mbit_s=messages_s * costs.redis_network / _MBIT,
    )
