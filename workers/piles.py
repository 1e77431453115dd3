"""Counts what piles up when something is down, or nobody looks.

Called by the sweep, so that one worker at a time does it.
"""

import time
from functools import partial
from typing import Final, NamedTuple

from redis import Redis
from sqlalchemy import Engine, text

from infra.store.outbox import IS_OF
from infra.wire import names
from workers import metrics

_FRESH_S: Final = 60.0
"""Numbers of a worker that has not counted for this long are nobody's business any more."""

_COUNT = text(
    f"""
    SELECT
        (SELECT extract(epoch FROM now() - min(sweep_at)) FROM chats WHERE sweep_at <= now()) AS sweep_age,
        (SELECT count(*) FROM (SELECT FROM dead_letters LIMIT 1000) AS kept) AS dead_letters,
        (SELECT count(*) FROM (
            SELECT FROM notifications
            WHERE finished_at IS NULL AND coalesce(unsent_at, created_at) < now() - interval '15 minutes'
            LIMIT 1000
        ) AS late) AS notifications,
        (SELECT count(*) FROM (SELECT FROM reports WHERE closed_at IS NULL LIMIT 1000) AS open) AS reports,
        (
            SELECT extract(epoch FROM now() - min(created_at)) FROM reports WHERE closed_at IS NULL
        ) AS report_age,
        (
            WITH RECURSIVE waiting (endpoint) AS (
                SELECT min(endpoint) FROM outbox WHERE dead_at IS NULL
                UNION ALL
                SELECT (
                    SELECT min(endpoint) FROM outbox WHERE dead_at IS NULL AND endpoint > waiting.endpoint
                )
                FROM waiting WHERE waiting.endpoint IS NOT NULL
            )
            SELECT extract(epoch FROM now() - min(oldest.created_at))
            FROM waiting CROSS JOIN LATERAL (
                SELECT created_at FROM outbox
                WHERE {IS_OF.format(endpoint="waiting.endpoint")} AND dead_at IS NULL
                ORDER BY endpoint, number LIMIT 1
            ) oldest
        ) AS webhook_age,
        (
            SELECT count(*) FROM (SELECT FROM outbox WHERE dead_at IS NOT NULL LIMIT 1000) AS dead
        ) AS dead_webhooks
    """
)


class Counted(NamedTuple):
    """What was found."""

    sweep_age_s: float
    """For how long the oldest due chat has been due."""
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


def count_piles(engine: Engine) -> Counted:
    """Count what piles up in the database. Raises sqlalchemy.exc.SQLAlchemyError."""
    with engine.begin() as conn:
        row = conn.execute(_COUNT).one()
    return Counted(
        float(row.sweep_age or 0),
        row.dead_letters,
        row.notifications,
        row.reports,
        float(row.report_age or 0),
        float(row.webhook_age or 0),
        row.dead_webhooks,
    )


class Piles:
    """The gauges of what piles up; they fall to 0 when another worker counts."""

    def __init__(self, engine: Engine, redis: Redis, prefix: str = "") -> None:
        self._engine = engine
        self._redis = redis
        self._prefix = prefix
        self._counted: dict[str, float] = {}
        self._counted_at = 0.0
        for name, gauge in {
            "sweep_age_s": metrics.SWEEP_AGE,
            "dead_letters": metrics.KEPT_DEAD_LETTERS,
            "open_notifications": metrics.OPEN_NOTIFICATIONS,
            "open_reports": metrics.OPEN_REPORTS,
            "report_age_s": metrics.REPORT_AGE,
            "webhook_age_s": metrics.WEBHOOK_AGE,
            "dead_webhooks": metrics.DEAD_WEBHOOKS,
            names.QUEUE: metrics.QUEUE.labels(names.QUEUE),
            names.FUNCTIONS_QUEUE: metrics.QUEUE.labels(names.FUNCTIONS_QUEUE),
        }.items():
            gauge.set_function(partial(self._read, name))

    def count(self) -> None:
        """Count. Raises redis.RedisError and sqlalchemy.exc.SQLAlchemyError."""
        self._counted = {
            **count_piles(self._engine)._asdict(),
            **{
                queue: self._redis.llen(self._prefix + queue)
                for queue in (names.QUEUE, names.FUNCTIONS_QUEUE)
            },
        }
        self._counted_at = time.monotonic()

    def _read(self, name: str) -> float:
        is_fresh = time.monotonic() - self._counted_at < _FRESH_S
        return self._counted.get(name, 0.0) if is_fresh else 0.0
