"""`offline_delivery`: queues one notification for each offline user whose messages have waited too long.

What a notification covers is fixed in the transaction that makes it. The queue only holds its id.
"""

from collections import Counter
from datetime import datetime

from sqlalchemy import text

from functions.context import Context, Summary
from functions.notification_plan import make_plan, write_plan
from functions.notifications import expire, take_due
from functions.pacer import Pacer

_ROWS = 1_000
"""The most rows of `undelivered` from which one transaction takes its users."""
_DRY_RUN_ROWS = 10_000
"""The same for a dry run, which is a single transaction."""

_NOW = text("SELECT now()")
_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_LOCK_ID = 0x6262_6F64


def offline_delivery(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
    """Queue a notification for every user who is due one.

    Returns how many users got each decision, and how many notifications were queued. Raises
    SettingsError, redis.RedisError, sqlalchemy.exc.SQLAlchemyError and what the queue raises.
    """
    counts: Counter[str] = Counter(notified=0, online=0, quiet=0, too_soon=0, no_device=0, obsolete=0)
    with context.engine.connect() as conn:
        began: datetime = conn.execute(_NOW).scalar_one()
    if dry_run:
        with context.engine.connect() as conn:
            counts.update(make_plan(conn, context, began, _DRY_RUN_ROWS, lock=False).counts)
        return {**counts, "queued": 0}
    while not pacer.out_of_time:
        with context.engine.begin() as conn:
            if not conn.execute(_LOCK, {"lock": _LOCK_ID}).scalar():
                break
            plan = make_plan(conn, context, began, _ROWS, lock=True)
            write_plan(conn, plan)
        counts.update(plan.counts)
        if not plan.checks:
            break
    return {**counts, "queued": _queue_due(context, pacer)}


def _queue_due(context: Context, pacer: Pacer) -> int:
    """Queue the notifications that are due. Return how many."""
    with context.engine.begin() as conn:
        expire(conn)
    queued = 0
    while True:
        with context.engine.begin() as conn:
            ids = take_due(conn)
            if ids:
                context.queue.put(ids)  # before the commit, so that a queue that refuses them loses nothing
        queued += len(ids)
        if not ids or pacer.out_of_time:
            return queued
