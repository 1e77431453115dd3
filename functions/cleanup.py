"""`cleanup`: deletes old rows from Postgres, and fills in what releases before left empty.

Each slice is a short transaction of its own that skips locked rows. So runs may overlap, and a run may be
killed at any point.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.errors import LockNotAvailable
from sqlalchemy import Engine, Row, TextClause, text
from sqlalchemy.exc import OperationalError

from functions.archive.holds import NOT_HELD
from functions.backfill import backfill
from functions.context import Context, Summary
from functions.pacer import Pacer
from infra.store.counting import note_holes

_SLICE = 1_000
"""The most rows that one transaction deletes, and the most chats that it reads."""

_BEFORE: Final = "< now() - make_interval(hours => 24 * CAST(:days AS integer))"
"""A day has 24 hours: days of Postgres depend on the time zone of the session, and on its clock changes."""


@dataclass(frozen=True)
class _ExpiringTable:
    """A table whose rows are deleted once column `at` is too old. Large tables have an index on it."""

    name: str
    key: str
    at: str

    @property
    def deletion(self) -> TextClause:
        """Deletes the oldest rows that are not locked, and returns their times.

        In seconds since the epoch, because Python has no `-infinity`.
        """
        return text(
            f"""
            DELETE FROM {self.name}
            WHERE {self.key} = ANY(ARRAY(
                SELECT {self.key} FROM {self.name}
                WHERE {self.at} {_BEFORE} AND {self.at} >= to_timestamp(:after)
                ORDER BY {self.at}
                LIMIT :slice
                FOR UPDATE SKIP LOCKED
            ))
            RETURNING {self._seconds}
            """
        )

    @property
    def selection(self) -> TextClause:
        """Selects the same rows, and all others that are as old as the last of them."""
        return text(
            f"""
            SELECT {self._seconds} FROM {self.name}
            WHERE {self.at} {_BEFORE} AND {self.at} > to_timestamp(:after)
            ORDER BY {self.at}
            FETCH FIRST (:slice) ROWS WITH TIES
            """
        )

    @property
    def _seconds(self) -> str:
        return f"CAST(extract(epoch FROM {self.at}) AS double precision) AS at"


_DEAD_LETTERS: Final = _ExpiringTable("dead_letters", "id", "created_at")
_DEVICES: Final = _ExpiringTable("devices", "id", "registered_at")
_NOTIFICATIONS: Final = _ExpiringTable("notifications", "id", "created_at")
_HOLDS: Final = _ExpiringTable("archive_holds", "day", "until")

_DAY = "CAST({message}.created_at AT TIME ZONE 'UTC' AS date)"
# Messages have no index on their time. But seq order is time order, so the oldest one of a chat decides.
_CHATS = text(
    f"""
    SELECT c.id, first.seq,
        coalesce(first.created_at {_BEFORE}, false)
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
        WHERE m.created_at {_BEFORE} AND {NOT_HELD.format(day=_DAY.format(message="m"))}
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

    Raises sqlalchemy.exc.SQLAlchemyError; the next run continues.
    """
    settings = context.settings
    tables = _TableCleanup(context.engine, pacer, dry_run)
    summary = {
        "dead_letters": tables.clean(_DEAD_LETTERS, settings.dead_letter_days),
        "devices": tables.clean(_DEVICES, settings.device_days),
        "notifications": tables.clean(_NOTIFICATIONS, settings.notification_days),
        "messages": tables.clean_messages(settings.retention_days) if settings.retention_days else 0,
        "holds": tables.clean(_HOLDS, 0),
    }
    if not dry_run:
        backfill(context.engine, pacer)
    return summary


class _TableCleanup:
    """One run over the tables."""

    def __init__(self, engine: Engine, pacer: Pacer, dry_run: bool) -> None:
        self._engine = engine
        self._pacer = pacer
        self._dry_run = dry_run

    def clean(self, table: _ExpiringTable, days: int) -> int:
        """Delete rows that are older than `days`. Return how many."""
        statement = table.selection if self._dry_run else table.deletion
        rows = 0
        after = -math.inf
        while not self._pacer.out_of_time:
            found = self._slice(statement, {"days": days, "after": after, "slice": _SLICE})
            rows += len(found)
            if len(found) < _SLICE:
                break
            after = max(row.at for row in found)
        return rows

    def clean_messages(self, days: int) -> int:
        """Delete messages that are older than `days`, chat by chat. Return how many."""
        rows = 0
        after = UUID(int=0)
        while not self._pacer.out_of_time:
            chats = self._slice(_CHATS, {"days": days, "after": after, "slice": _SLICE})
            rows += self._clean_chats({chat.id: chat.seq for chat in chats if chat.is_due}, days)
            if len(chats) < _SLICE:
                break
            after = chats[-1].id
        return rows

    def _clean_chats(self, due: Mapping[UUID, int], days: int) -> int:
        """Delete old messages of each chat, starting with a seq, until only recent ones are left."""
        statement = _SELECT_MESSAGES if self._dry_run else _DELETE_MESSAGES
        rows = 0
        while due and not self._pacer.out_of_time:
            share = max(1, _SLICE // len(due))
            params = {"days": days, "chats": list(due), "seqs": list(due.values()), "share": share}
            found = self._slice(statement, params)
            rows += len(found)
            counts = Counter(row.chat_id for row in found)
            due = {row.chat_id: row.seq + 1 for row in sorted(found) if counts[row.chat_id] == share}
        return rows

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
