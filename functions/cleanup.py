"""Removes what has had its day: traces of dead edges in Redis, and old rows in Postgres.

Every slice is a step or a short transaction of its own that skips what is locked, so runs may overlap, and
a run may be killed anywhere.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.errors import LockNotAvailable
from redis import RedisError
from sqlalchemy import Engine, Row, TextClause, text
from sqlalchemy.exc import OperationalError

from functions.cleanup_registry import clean_registry
from functions.context import Context, Stopwatch, Summary
from infra.settings.base import SettingsError

_SLICE = 1_000
"""Rows that one transaction removes, and chats that one looks at."""

_BEFORE: Final = "< now() - make_interval(days => CAST(:days AS integer))"


@dataclass(frozen=True)
class _Aged:
    """A table whose rows are removed by their age; `at` is indexed unless there are few."""

    table: str
    key: str
    at: str

    @property
    def removal(self) -> TextClause:
        """Remove the oldest rows that nobody has locked."""
        return text(
            f"""
            DELETE FROM {self.table}
            WHERE {self.key} = ANY(ARRAY(
                SELECT {self.key} FROM {self.table}
                WHERE {self.at} {_BEFORE} AND {self.at} >= CAST(:after AS timestamptz)
                ORDER BY {self.at}
                LIMIT :slice
                FOR UPDATE SKIP LOCKED
            ))
            RETURNING {self.at} AS at
            """
        )

    @property
    def count(self) -> TextClause:
        """Find the same rows, with all that are as old as the last of them."""
        return text(
            f"""
            SELECT {self.at} AS at FROM {self.table}
            WHERE {self.at} {_BEFORE} AND {self.at} > CAST(:after AS timestamptz)
            ORDER BY {self.at}
            FETCH FIRST (:slice) ROWS WITH TIES
            """
        )


_DEAD_LETTERS: Final = _Aged("dead_letters", "id", "created_at")
_DEVICES: Final = _Aged("devices", "id", "registered_at")
_NOTIFICATIONS: Final = _Aged("notifications", "id", "created_at")
_HOLDS: Final = _Aged("archive_holds", "day", "until")

# Messages have no index on their time. But seq order is time order, so the first one tells for its chat.
_NOT_HELD = """NOT EXISTS (
    SELECT FROM archive_holds h
    WHERE h.until > now() AND h.day = CAST({time} AT TIME ZONE 'UTC' AS date)
)"""
"""Somebody has brought messages of that day back."""
_CHATS = text(
    f"""
    SELECT c.id, first.seq,
        coalesce(first.created_at {_BEFORE}, false) AND {_NOT_HELD.format(time="first.created_at")} AS is_due
    FROM (SELECT id FROM chats WHERE id > :after ORDER BY id LIMIT :slice) c
    LEFT JOIN LATERAL (
        SELECT seq, created_at FROM messages WHERE chat_id = c.id ORDER BY seq LIMIT 1
    ) first ON true
    ORDER BY c.id
    """
)
# The limit stands before the look at the time: otherwise a chat would be read to its end.
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
        WHERE m.created_at {_BEFORE} AND {_NOT_HELD.format(time="m.created_at")}
    )
"""
_COUNT_MESSAGES = text(_OLDEST.format(lock="") + "SELECT chat_id, seq FROM oldest")
_REMOVE_MESSAGES = text(
    _OLDEST.format(lock="FOR UPDATE SKIP LOCKED")
    + """
    DELETE FROM messages m USING oldest
    WHERE m.chat_id = oldest.chat_id AND m.seq = oldest.seq
    RETURNING m.chat_id, m.seq
    """
)


def cleanup(context: Context, watch: Stopwatch, dry_run: bool) -> Summary:
    """Remove from Redis and from Postgres what is too old; if Redis fails, Postgres is done all the same.

    Raises SettingsError, redis.RedisError and sqlalchemy.exc.SQLAlchemyError; the next run goes on.
    """
    settings = context.settings
    summary: Summary = {}
    failure: Exception | None = None
    try:
        summary |= clean_registry(context.redis, settings.cleanup_edge_s, watch, dry_run=dry_run)
    except (RedisError, SettingsError) as error:
        failure = error
    store = _StoreCleanup(context.engine, watch, dry_run)
    summary |= {
        "dead_letters": store.clean(_DEAD_LETTERS, settings.dead_letter_days),
        "devices": store.clean(_DEVICES, settings.device_days),
        "notifications": store.clean(_NOTIFICATIONS, settings.notification_days),
        "messages": store.clean_messages(settings.retention_days) if settings.retention_days else 0,
        "holds": store.clean(_HOLDS, 0),
    }
    if failure is not None:
        raise failure
    return summary


class _StoreCleanup:
    """One run over the tables."""

    def __init__(self, engine: Engine, watch: Stopwatch, dry_run: bool) -> None:
        self._engine = engine
        self._watch = watch
        self._dry_run = dry_run

    def clean(self, aged: _Aged, days: int) -> int:
        """Remove the rows that are older than so many days; return how many."""
        statement = aged.count if self._dry_run else aged.removal
        rows = 0
        after: Any = "-infinity"
        while not self._watch.is_over:
            found = self._slice(statement, {"days": days, "after": after, "slice": _SLICE})
            rows += len(found)
            if len(found) < _SLICE:
                break
            after = max(row.at for row in found)
        return rows

    def clean_messages(self, days: int) -> int:
        """Remove the messages that are older than so many days, chat after chat; return how many."""
        rows = 0
        after = UUID(int=0)
        while not self._watch.is_over:
            chats = self._slice(_CHATS, {"days": days, "after": after, "slice": _SLICE})
            rows += self._clean_chats({chat.id: chat.seq for chat in chats if chat.is_due}, days)
            if len(chats) < _SLICE:
                break
            after = chats[-1].id
        return rows

    def _clean_chats(self, due: Mapping[UUID, int], days: int) -> int:
        """Remove the oldest messages of each of the chats, from a seq on, until only young ones are left."""
        statement = _COUNT_MESSAGES if self._dry_run else _REMOVE_MESSAGES
        rows = 0
        while due and not self._watch.is_over:
            share = max(1, _SLICE // len(due))
            params = {"days": days, "chats": list(due), "seqs": list(due.values()), "share": share}
            found = self._slice(statement, params)
            rows += len(found)
            counts = Counter(row.chat_id for row in found)
            due = {row.chat_id: row.seq + 1 for row in sorted(found) if counts[row.chat_id] == share}
        return rows

    def _slice(self, statement: TextClause, params: Mapping[str, Any]) -> list[Row[Any]]:
        """Run a statement in a transaction of its own; a table that stays locked is left for the next run."""
        try:
            with self._engine.begin() as conn:
                found = list(conn.execute(statement, params))
            self._watch.rest()
            return found
        except OperationalError as error:
            if isinstance(error.orig, LockNotAvailable):
                return []
            raise
