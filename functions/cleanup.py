"""`cleanup`: deletes old rows from Postgres, and fills in what releases before left empty.

Each slice is a short transaction of its own that skips locked rows. So runs may overlap, and a run may be
killed at any point. Rows that cannot be deleted are skipped.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy import Engine, Row, TextClause, text
from sqlalchemy.exc import OperationalError

from functions.archive.holds import NOT_HELD
from functions.backfill import backfill
from functions.context import Context, Summary
from functions.data_errors import in_halves, is_data_error
from functions.expiring_tables import (
    BEFORE,
    DEAD_LETTERS,
    DEVICES,
    HOLDS,
    JOB_RUNS,
    NOTIFICATIONS,
    OUTBOX,
    REPORTS,
    ExpiringTable,
)
from functions.pacer import Pacer
from infra.store.counting import note_holes

log = structlog.get_logger(__name__)

_JOB_RUN_DAYS = 1_000
"""Longer than any job waits for its next time, other than one for a leap day."""
_SLICE = 1_000
"""The most rows that one transaction deletes, and the most chats that it reads."""

_DAY = "CAST({message}.created_at AT TIME ZONE 'UTC' AS date)"
# Messages have no index on their time. But seq order is time order, so the oldest one of a chat decides.
_CHATS = text(
    f"""
    SELECT c.id, first.seq,
        coalesce(first.created_at {BEFORE}, false)
            AND {NOT_HELD.format(day=_DAY.format(message="first"))} AS is_due
    FROM (SELECT id FROM chats WHERE id > :after ORDER BY id LIMIT :slice) c
    LEFT JOIN LATERAL (
        SELECT seq, created_at FROM messages WHERE chat_id = c.id ORDER BY seq LIMIT 1
    ) first ON true
    ORDER BY c.id
    """
)
# The limit applies before the condition on the time: otherwise each chat would be read to its end.
_OLDEST = f"""
    WITH oldest AS MATERIALIZED (
        SELECT m.chat_id, m.seq
        FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])) AS due (chat_id, seq)
        CROSS JOIN LATERAL (
            SELECT chat_id, seq, created_at FROM messages
            WHERE chat_id = due.chat_id AND seq >= due.seq
            ORDER BY seq
            LIMIT :share
            {{lock}}
        ) m
        WHERE m.created_at {BEFORE} AND {NOT_HELD.format(day=_DAY.format(message="m"))}
    )
"""
_SELECT_MESSAGES = text(_OLDEST.format(lock="") + "SELECT chat_id, seq FROM oldest")
_DELETE_MESSAGES = text(
    _OLDEST.format(lock="FOR UPDATE SKIP LOCKED")
    + f"""
    , gone AS (
        DELETE FROM messages m USING oldest
        WHERE m.chat_id = oldest.chat_id AND m.seq = oldest.seq
        RETURNING m.chat_id, m.seq
    ), noted AS ({note_holes("gone")})
    SELECT chat_id, seq FROM gone
    """
)
"""Rows that are locked, or on hold, stay between those that are deleted."""


def cleanup(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
    """Delete rows that are too old, then fill in the others. Return how many of each kind were deleted.

    `failed` are rows, and chats, that cannot be handled.
    Raises sqlalchemy.exc.SQLAlchemyError; the next run continues.
    """
    settings = context.settings
    tables = _TableCleanup(context.engine, pacer, dry_run)
    summary = {
        "dead_letters": tables.clean(DEAD_LETTERS, settings.dead_letter_days),
        "devices": tables.clean(DEVICES, settings.device_days),
        "notifications": tables.clean(NOTIFICATIONS, settings.notification_days),
        "webhooks": tables.clean(OUTBOX, settings.dead_letter_days),
        "reports": tables.clean(REPORTS, settings.report_days),
        "messages": tables.clean_messages(settings.retention_days) if settings.retention_days else 0,
        "holds": tables.clean(HOLDS, 0),
        "job_runs": tables.clean(JOB_RUNS, _JOB_RUN_DAYS),
    }
    failed = len(tables.failed) + (0 if dry_run else backfill(context.engine, pacer))
    return {**summary, "failed": failed}


class _TableCleanup:
    """One run over the tables."""

    def __init__(self, engine: Engine, pacer: Pacer, dry_run: bool) -> None:
        self._engine = engine
        self._pacer = pacer
        self._dry_run = dry_run
        self._messages = 0
        self.failed: set[tuple[str, str]] = set()
        """Table and key of what could not be deleted."""

    def clean(self, table: ExpiringTable, days: int) -> int:
        """Delete rows that are older than `days`. Return how many."""
        statement = table.selection if self._dry_run else table.deletion
        rows = 0
        after = -math.inf
        while not self._pacer.out_of_time:
            params = {"days": days, "after": after, "slice": _SLICE}
            try:
                found = self._slice(statement, params)
                deleted = len(found)
            except Exception as error:
                if self._dry_run or not is_data_error(error):
                    raise
                found = self._slice(table.oldest, params)
                deleted = self._remove(table, days, found)
            rows += deleted
            if len(found) < _SLICE:
                break
            before, after = after, max(row.at for row in found)
            if not deleted and after == before:
                break  # only rows that cannot be deleted
        return rows

    def _remove(self, table: ExpiringTable, days: int, rows: Sequence[Row[Any]]) -> int:
        """Delete as many of the rows as possible. Return how many."""

        def remove(keys: Sequence[Any]) -> int:
            return len(self._slice(table.removal, {"days": days, "keys": list(keys)}))

        return sum(in_halves(remove, [row.key for row in rows], partial(self._skip, table.name)))

    def _skip(self, table: str, key: Any, error: Exception) -> None:
        """Log, once in a run, what cannot be deleted."""
        if (table, str(key)) not in self.failed:
            self.failed.add((table, str(key)))
            log.error(
                "row_skipped", function="cleanup", table=table, key=str(key), error=type(error).__name__
            )

    def clean_messages(self, days: int) -> int:
        """Delete messages that are older than `days`, chat by chat. Return how many."""
        after = UUID(int=0)
        while not self._pacer.out_of_time:
            chats = self._slice(_CHATS, {"days": days, "after": after, "slice": _SLICE})
            due = [(chat.id, chat.seq) for chat in chats if chat.is_due]
            in_halves(
                lambda some: self._clean_chats(dict(some), days),
                due,
                lambda chat, error: self._skip("chats", chat[0], error),
            )
            if len(chats) < _SLICE:
                break
            after = chats[-1].id
        return self._messages

    def _clean_chats(self, due: Mapping[UUID, int], days: int) -> None:
        """Delete old messages of each chat, starting with a seq, until only recent ones are left."""
        statement = _SELECT_MESSAGES if self._dry_run else _DELETE_MESSAGES
        while due and not self._pacer.out_of_time:
            share = max(1, _SLICE // len(due))
            params = {"days": days, "chats": list(due), "seqs": list(due.values()), "share": share}
            found = self._slice(statement, params)
            self._messages += len(found)
            counts = Counter(row.chat_id for row in found)
            due = {row.chat_id: row.seq + 1 for row in sorted(found) if counts[row.chat_id] == share}

    def _slice(self, statement: TextClause, params: Mapping[str, Any]) -> list[Row[Any]]:
        """Run a statement in a transaction of its own. A table that stays locked is left to the next run."""
        try:
            with self._engine.begin() as conn:
                found = list(conn.execute(statement, params))
            self._pacer.pause()
            return found
        except OperationalError as error:
            if isinstance(error.orig, LockNotAvailable):
                return []
            raise
