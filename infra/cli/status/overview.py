"""Reads what runs and what piles up, and judges it."""

import time
from collections.abc import Iterator
from typing import Final

import msgspec
from redis import Redis

from infra.processes import ProcessState, read_processes
from infra.redis_client import make_redis
from infra.settings.status import StatusSettings
from infra.wire import names

_TIMEOUT_S: Final = 3.0
_WAITING_S: Final = 5.0
"""An event that has waited for longer is a problem."""
_DUE_S: Final = 60.0
"""So is a chat whose deliveries should have been swept that long ago."""
_REPORT_S: Final = 43_200.0
"""And a report that has been open for longer: Apple asks to act within 24 hours."""
_WEBHOOK_S: Final = 900.0
"""And an event of webhooks that has waited for longer."""
_START: Final = {
    "edge": "start `bbgram edge`",
    "worker": "start `bbgram worker`",
    "functions": "start `bbgram worker --functions`, or set BBGRAM_BEAT_FUNCTIONS=false",
    "beat": "start `bbgram beat`",
}


class Piles(msgspec.Struct, frozen=True, rename="camel"):
    """What piles up in the database when something is down, or nobody looks."""

    sweep_age_s: float
    """For how long the oldest due delivery has been due."""
    dead_letters: int
    """Up to 1,000."""
    open_notifications: int
    """Those older than 15 minutes, up to 1,000."""
    open_reports: int
    """Up to 1,000."""
    report_age_s: float
    """For how long the oldest open report has been open."""
    webhook_age_s: float
    """For how long the oldest event of webhooks has waited."""
    dead_webhooks: int
    """Events of webhooks that were given up, up to 1,000."""


class Overview(msgspec.Struct, frozen=True, rename="camel"):
    """What runs, what piles up, and what is wrong with it."""

    at: float
    """Seconds since the epoch."""
    processes: list[ProcessState]
    queues: dict[str, int]
    """Tasks by queue."""
    database: Piles | None
    """None if no database is set."""
    problems: list[str]

    def of(self, part: str) -> list[ProcessState]:
        """Return the processes of a kind."""
        return [one for one in self.processes if one.part == part]


def read_overview(settings: StatusSettings) -> Overview:
    """Ask Redis and, if it is set, the database.

    Raises SettingsError, redis.RedisError and sqlalchemy.exc.SQLAlchemyError.
    """
    with make_redis(settings.redis_url, _TIMEOUT_S) as redis:
        processes = read_processes(redis, settings.redis_prefix)
        queues = _queues(redis, settings.redis_prefix)
    overview = Overview(time.time(), processes, queues, _piles(settings), [])
    return msgspec.structs.replace(overview, problems=list(_problems(overview, settings)))


def _queues(redis: Redis, prefix: str) -> dict[str, int]:
    return {queue: redis.llen(prefix + queue) for queue in (names.QUEUE, names.FUNCTIONS_QUEUE)}


def _piles(settings: StatusSettings) -> Piles | None:
    store = settings.store()
    if store is None:
        return None
    from infra.store.engine import make_engine
    from workers.piles import count_piles

    engine = make_engine(store.database_url, schema=store.database_schema, pooled=store.database_pooled)
    try:
        counted = count_piles(engine)
    finally:
        engine.dispose()
    return Piles(**counted._asdict())


def _problems(overview: Overview, settings: StatusSettings) -> Iterator[str]:
    for part, advice in _START.items():
        if not overview.of(part) and (part != "functions" or settings.beat_functions):
            yield f"no {part} process runs: {advice}"
    for process in overview.processes:
        name = f"{process.part} {process.host}:{process.pid}"
        if not process.is_alive:
            yield f"{name} has been stuck for {process.pulse_s:.0f} s: restart it"
    for edge in overview.of("edge"):
        yield from _edge_problems(edge)
    if overview.database is not None:
        yield from _pile_problems(overview.database)


def _edge_problems(edge: ProcessState) -> Iterator[str]:
    name = f"edge {edge.host}:{edge.pid}"
    if not edge.value("bbgram_edge_inbox_reading") or not edge.value("bbgram_edge_lease_held"):
        yield f"{name} hears nothing from workers: does it reach Redis?"
    elif not edge.value("bbgram_edge_workers_answering"):
        yield f"{name} gets no answers: do workers run, and reach Postgres?"
    oldest_s = edge.largest("bbgram_edge_oldest_waiting_seconds")
    if oldest_s > _WAITING_S:
        yield f"{name} has an event that has waited for {oldest_s:.0f} s: workers do not keep up"


def _pile_problems(piles: Piles) -> Iterator[str]:
    if piles.sweep_age_s > _DUE_S:
        yield f"a sweep is {piles.sweep_age_s:.0f} s late: do beat and workers run?"
    if piles.dead_letters:
        yield f"there are {_upto(piles.dead_letters)} dead letters: see `bbgram dead-letters`"
    if piles.open_notifications:
        yield f"{_upto(piles.open_notifications)} notifications are open for over 15 minutes: does push work?"
    if piles.report_age_s > _REPORT_S:
        hours = piles.report_age_s / 3_600
        yield f"{_upto(piles.open_reports)} reports are open, one for {hours:.0f} h: see `bbgram reports`"
    if piles.webhook_age_s > _WEBHOOK_S:
        minutes = piles.webhook_age_s / 60
        yield f"an event of webhooks has waited for {minutes:.0f} min: see `bbgram webhooks`"
    if piles.dead_webhooks:
        yield f"{_upto(piles.dead_webhooks)} events of webhooks were given up: see `bbgram webhooks`"


def _upto(count: int) -> str:
    return f"{count:,}" if count < 1_000 else "1,000 or more"
