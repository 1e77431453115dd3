"""What the archive reads from `messages`, and what it takes away there.

Nothing here looks for times in an index: within a chat they follow seq, so that chats are walked by
primary key and looked at from their oldest message on. Statements and transactions are short.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg.errors import LockNotAvailable
from sqlalchemy import Engine, Row, text
from sqlalchemy.exc import OperationalError

from functions.archive_lines import BATCH, Line
from functions.archive_store import Shard
from functions.context import Stopwatch

_CHATS: Final = 1_000
"""Chats that are looked at with one statement."""
_GROUP: Final = 50
_DEPTH: Final = 20
"""Chats that are read together, and rows of each; who has more is read on alone."""
_TRIES: Final = 5

_DAY = "CAST(m.created_at AT TIME ZONE 'UTC' AS date)"
_NOT_HELD = "NOT EXISTS (SELECT FROM archive_holds h WHERE h.day = {day} AND h.until > now())"
_ARCHIVABLE = f"""
    m.seq <= greatest(w.delivered_seq, w.read_seq)
    AND {_DAY} < CAST(now() AT TIME ZONE 'UTC' AS date) - CAST(:days AS int)
    AND {_NOT_HELD.format(day=_DAY)}
"""
"""What the recipient has got, of a day that ended `days` ago or before and is not held."""

_FIRSTS = text(
    f"""
    SELECT c.id AS chat_id, m.seq, CASE WHEN {_ARCHIVABLE} THEN {_DAY} END AS day
    FROM (SELECT id FROM chats WHERE id > :after ORDER BY id LIMIT {_CHATS}) c
    LEFT JOIN LATERAL (
        SELECT chat_id, seq, recipient_id, created_at FROM messages
        WHERE chat_id = c.id AND get_byte(uuid_send(c.id), 15) % :of = :shard
        ORDER BY seq LIMIT 1
    ) m ON true
    LEFT JOIN chat_members w ON w.chat_id = m.chat_id AND w.user_id = m.recipient_id
    ORDER BY c.id
    """
)
_ROWS = text(
    f"""
    WITH m AS MATERIALIZED (
        SELECT message.*
        FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])) AS start (chat_id, seq)
        CROSS JOIN LATERAL (
            SELECT * FROM messages
            WHERE chat_id = start.chat_id AND seq >= start.seq
            ORDER BY seq LIMIT :depth
        ) message
    )
    SELECT m.chat_id, m.seq, m.id, m.sender_id, m.recipient_id, m.client_id, m.text,
        to_char(m.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
        coalesce(
            {_ARCHIVABLE} AND (CAST(:day AS date) IS NULL OR {_DAY} = CAST(:day AS date)), false
        ) AS archivable
    FROM m
    LEFT JOIN chat_members w ON w.chat_id = m.chat_id AND w.user_id = m.recipient_id
    ORDER BY m.chat_id, m.seq
    """
)
_DELETE = text(
    f"""
    WITH found AS MATERIALIZED (
        SELECT m.chat_id, m.seq
        FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]))
            AS line (chat_id, seq, id)
        JOIN messages m ON m.chat_id = line.chat_id AND m.seq = line.seq AND m.id = line.id
        WHERE {_NOT_HELD.format(day="CAST(:day AS date)")}
        ORDER BY m.chat_id, m.seq
        FOR UPDATE OF m
    ), gone AS (
        DELETE FROM messages m USING found
        WHERE m.chat_id = found.chat_id AND m.seq = found.seq
        RETURNING m.chat_id, m.seq
    ), noted AS (
        INSERT INTO archived_chats (chat_id, seqs)
        SELECT chat_id, range_agg(int8range(seq, seq, '[]')) FROM gone GROUP BY chat_id ORDER BY chat_id
        ON CONFLICT (chat_id) DO UPDATE SET seqs = archived_chats.seqs + excluded.seqs
    )
    SELECT count(*) FROM gone
    """
)
"""Locks in the order of the key, so that two runs cannot deadlock; the later one finds nothing left.

The hold is looked at here too: a statement that began before it cannot see what was restored after it.
"""


class First(NamedTuple):
    """The oldest stored message of a chat, if the chat belongs to the shard."""

    chat_id: UUID
    seq: int | None
    """None in a chat without messages, and of another shard."""
    day: date | None
    """Its UTC day; None when it cannot be archived, and with it the chat."""


@dataclass(frozen=True)
class ShardRows:
    """The messages of one shard's chats that are older than `days`."""

    engine: Engine
    watch: Stopwatch
    shard: Shard
    days: int

    def next_day(self, after: date) -> date | None:
        """Return the oldest day behind `after` that has something to archive."""
        days = (first.day for firsts in self._firsts() for first in firsts)
        return min((day for day in days if day is not None and day > after), default=None)

    def lines(self, day: date | None) -> Iterator[list[Line]]:
        """Yield what can be archived of a day, or of all days, by chat and seq.

        Of each chat that is what it begins with, up to the first message that has to stay. Ends
        early when the time is over.
        """
        for firsts in self._firsts():
            wanted = [
                (first.chat_id, first.seq)
                for first in firsts
                if first.seq is not None and first.day is not None and day in (None, first.day)
            ]
            for place in range(0, len(wanted), _GROUP):
                if self.watch.is_over:
                    return
                group = wanted[place : place + _GROUP]
                rows = self._rows(group, _DEPTH, day)
                for chat_id, _ in group:
                    yield from self._beginning(rows[chat_id], day)

    def _beginning(self, rows: Sequence[Row[Any]], day: date | None) -> Iterator[list[Line]]:
        """Yield what a chat begins with, given its first rows."""
        depth = _DEPTH
        while lines := [_to_line(row) for row in takewhile(lambda row: row.archivable, rows)]:
            yield lines
            if len(lines) < depth:
                return
            depth = BATCH
            rows = self._rows([(lines[-1].chat_id, lines[-1].seq + 1)], depth, day)[lines[-1].chat_id]

    def _firsts(self) -> Iterator[list[First]]:
        """Walk the chats, in slices."""
        params: dict[str, Any] = {"of": self.shard.of, "shard": self.shard.number, "days": self.days}
        after = UUID(int=0)
        while not self.watch.is_over:
            with self.engine.begin() as conn:
                firsts = [First(*row) for row in conn.execute(_FIRSTS, {**params, "after": after})]
            self.watch.rest()
            yield firsts
            if len(firsts) < _CHATS:
                return
            after = firsts[-1].chat_id

    def _rows(
        self, starts: Sequence[tuple[UUID, int]], depth: int, day: date | None
    ) -> dict[UUID, list[Row[Any]]]:
        """Read up to `depth` rows of each chat, from a seq on."""
        params = {
            "chats": [chat_id for chat_id, _ in starts],
            "seqs": [seq for _, seq in starts],
            "depth": depth,
            "day": day,
            "days": self.days,
        }
        found: dict[UUID, list[Row[Any]]] = defaultdict(list)
        with self.engine.begin() as conn:
            for row in conn.execute(_ROWS, params):
                found[row.chat_id].append(row)
        self.watch.rest()
        return found


def delete_lines(engine: Engine, day: date, lines: Sequence[Line]) -> int:
    """Delete the rows of exactly these messages and note that they are in the archive; return how many."""
    params = {**keys(lines), "day": day}
    for _ in range(_TRIES - 1):
        try:
            return _delete(engine, params)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
    return _delete(engine, params)


def keys(lines: Sequence[Line]) -> dict[str, Any]:
    """Return the parameters `chats`, `seqs` and `ids` of a statement about these messages."""
    return {
        "chats": [line.chat_id for line in lines],
        "seqs": [line.seq for line in lines],
        "ids": [line.id for line in lines],
    }


def _delete(engine: Engine, params: dict[str, Any]) -> int:
    with engine.begin() as conn:
        return int(conn.execute(_DELETE, params).scalar_one())


def _to_line(row: Row[Any]) -> Line:
    return Line(
        chat_id=row.chat_id,
        seq=row.seq,
        id=row.id,
        sender_id=row.sender_id,
        recipient_id=row.recipient_id,
        text=row.text,
        client_id=row.client_id,
        created_at=row.created_at,
    )
