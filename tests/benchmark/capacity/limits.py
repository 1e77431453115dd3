"""Computes what gives out first."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.benchmark.capacity.needs import ONLINE, Assumptions, Costs, needs


@dataclass(frozen=True)
class Limit:
    """A part of which there is one, and the number of online users that fill it."""

    part: str
    online: float
    then: str


def limits(costs: Costs, given: Assumptions) -> list[Limit]:
    """Return what gives out. All needs grow with the number of users."""
    most = max(ONLINE)
    one = needs(costs, given, most)
    found: Iterable[tuple[str, float, float, str]] = (
        (
            f"Redis: one core for commands, {given.core:.0%} busy",
            one.redis_cores,
            given.core,
            "a faster core; then deployments with a Redis each, for users who do not chat with each other",
        ),
        (
            f"Redis: {given.network_gbit_s:g} Gbit/s",
            one.redis_mbit_s / 1e3,
            given.network_gbit_s,
            "shorter texts, a faster network; then as above",
        ),
        (f"Redis: {given.redis_gb:g} GB of memory", one.redis_mb / 1024, given.redis_gb, "more memory"),
        (
            f"Postgres: {given.postgres_cores} cores, {given.core:.0%} busy",
            one.postgres_cores,
            given.postgres_cores * given.core,
            "a larger machine; then deployments with a Postgres each",
        ),
        (
            f"Postgres: {given.wal_mb_s:g} MB/s of log",
            one.wal_mb_s,
            given.wal_mb_s,
            "faster disks, `max_wal_size` and the time between checkpoints",
        ),
        (
            f"Postgres: {given.postgres_tb:g} TB of messages",
            one.stored_tb,
            given.postgres_tb,
            "`archive` moves old messages to S3; or `RETENTION_DAYS`",
        ),
    )
    return [Limit(part, most * limit / need, then) for part, need, limit, then in found]
