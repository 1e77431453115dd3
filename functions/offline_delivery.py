"""`offline_delivery`: queues one notification for each offline user whose messages have waited too long.

What a notification covers is fixed in the transaction that makes it. The queue only holds its id.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from functions.context import Context, Summary
from functions.data_errors import is_data_error
from functions.notification_plan import make_plan, put_off, read_due_users, write_plan
from functions.notifications import expire, take_due
from functions.pacer import Pacer

log = structlog.get_logger(__name__)

_ROWS = 1_000
"""The most rows of `undelivered` from which one transaction takes its users."""
_USERS = 200_000
"""The most users of a run, as it remembers them. The next run takes the others."""
_DRY_RUN_ROWS = 10_000
"""The same for a dry run, which is a single transaction."""

_NOW = text("SELECT now()")
_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_LOCK_ID = 0x6262_6F64


def offline_delivery(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
    """Queue a notification for every user who is due one.

    Returns how many users got each decision, and how many notifications were queued; `failed` are users
    whose data cannot be handled. Raises SettingsError, redis.RedisError, sqlalchemy.exc.SQLAlchemyError and
    what the queue raises.
    """
    run = _Run(context, pacer, dry_run)
    while not pacer.out_of_time and run.plan_slice() and not dry_run:
        pass
    return {**run.counts, "queued": 0 if dry_run else _queue_due(context, pacer)}


class _Run:
    """One run. It handles each user once, whatever becomes of their rows."""

    def __init__(self, context: Context, pacer: Pacer, dry_run: bool) -> None:
        self.counts: Counter[str] = Counter(
            notified=0, online=0, quiet=0, too_soon=0, no_device=0, obsolete=0, failed=0
        )
        self._context = context
        self._pacer = pacer
        self._dry_run = dry_run
        self._handled: set[UUID] = set()
        with context.engine.connect() as conn:
            self._began: datetime = conn.execute(_NOW).scalar_one()

    def plan_slice(self) -> bool:
        """Plan for the users of the rows that are due next. Return whether there were any."""
        users = self._read_due() - self._handled if len(self._handled) < _USERS else set()
        try:
            is_ours = bool(users) and self._plan(users)
        except Exception as error:
            if not is_data_error(error):
                raise
            is_ours = all(self._plan_alone(user_id) for user_id in sorted(users))
        self._handled |= users
        return is_ours

    def _read_due(self) -> set[UUID]:
        limit = _DRY_RUN_ROWS if self._dry_run else _ROWS
        with self._context.engine.connect() as conn:
            return read_due_users(conn, self._began, self._context.settings.offline_delay_s, limit)

    def _plan(self, users: Collection[UUID]) -> bool:
        """Plan for some users in one transaction. Return False if another run is at it."""
        with self._context.engine.begin() as conn:
            if not self._dry_run and not conn.execute(_LOCK, {"lock": _LOCK_ID}).scalar():
                return False
            plan = make_plan(conn, self._context, users, lock=not self._dry_run)
            if not self._dry_run:
                write_plan(conn, plan)
        self.counts.update(plan.counts)
        return True

    def _plan_alone(self, user_id: UUID) -> bool:
        """Plan for one user, and skip them if that fails. Return whether the run may go on."""
        try:
            return not self._pacer.out_of_time and self._plan([user_id])
        except Exception as error:
            if not is_data_error(error):
                raise
            self.counts["failed"] += 1
            log.error(
                "user_skipped", function="offline_delivery", user=str(user_id), error=type(error).__name__
            )
        self._put_off(user_id)
        return True

    def _put_off(self, user_id: UUID) -> None:
        """Let others come first in the next run. A user whose rows are locked stays in their place."""
        if self._dry_run:
            return
        try:
            with self._context.engine.begin() as conn:
                put_off(conn, user_id)
        except SQLAlchemyError as error:
            if not is_data_error(error):
                raise


def _queue_due(context: Context, pacer: Pacer) -> int:
    """Queue the notifications that are due. Return how many."""
    with context.engine.begin() as conn:
        expire(conn, context.settings.subscriptions)
    queued = 0
    while True:
        with context.engine.begin() as conn:
            ids = take_due(conn)
            if ids:
                context.queue.put(ids)  # before the commit, so that a queue that refuses them loses nothing
        queued += len(ids)
        if not ids or pacer.out_of_time:
            return queued
