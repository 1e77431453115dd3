"""Tables whose rows are deleted once they are too old."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import TextClause, text

BEFORE: Final = "< now() - make_interval(hours => 24 * CAST(:days AS integer))"
"""A day has 24 hours: days of Postgres depend on the time zone of the session, and on its clock changes."""


@dataclass(frozen=True)
class ExpiringTable:
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
                WHERE {self.at} {BEFORE} AND {self.at} >= to_timestamp(:after)
                ORDER BY {self.at}
                LIMIT :slice
                FOR UPDATE SKIP LOCKED
            ))
            RETURNING {self._seconds}
            """
        )

    @property
    def oldest(self) -> TextClause:
        """Selects the keys and times of the same rows."""
        return text(
            f"""
            SELECT {self.key} AS key, {self._seconds} FROM {self.name}
            WHERE {self.at} {BEFORE} AND {self.at} >= to_timestamp(:after)
            ORDER BY {self.at}
            LIMIT :slice
            """
        )

    @property
    def removal(self) -> TextClause:
        """Deletes those of the rows with certain keys that are still too old, and not locked."""
        return text(
            f"""
            DELETE FROM {self.name}
            WHERE {self.key} = ANY(ARRAY(
                SELECT {self.key} FROM {self.name}
                WHERE {self.key} = ANY(:keys) AND {self.at} {BEFORE}
                FOR UPDATE SKIP LOCKED
            ))
            RETURNING {self.key}
            """
        )

    @property
    def selection(self) -> TextClause:
        """Selects the same rows, and all others that are as old as the last of them."""
        return text(
            f"""
            SELECT {self._seconds} FROM {self.name}
            WHERE {self.at} {BEFORE} AND {self.at} > to_timestamp(:after)
            ORDER BY {self.at}
            FETCH FIRST (:slice) ROWS WITH TIES
            """
        )

    @property
    def _seconds(self) -> str:
        return f"CAST(extract(epoch FROM {self.at}) AS double precision) AS at"


DEAD_LETTERS: Final = ExpiringTable("dead_letters", "id", "created_at")
DEVICES: Final = ExpiringTable("devices", "id", "registered_at")
NOTIFICATIONS: Final = ExpiringTable("notifications", "id", "created_at")
REPORTS: Final = ExpiringTable("reports", "id", "created_at")
OUTBOX: Final = ExpiringTable("outbox", "number", "dead_at")
HOLDS: Final = ExpiringTable("archive_holds", "day", "until")
JOB_RUNS: Final = ExpiringTable("job_runs", "name", "began_at")
