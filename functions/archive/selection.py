"""Selects the messages that can be archived.

There is no index on the time of messages. But within a chat, seq order is time order, so each chat is read
by primary key from its oldest message on. Statements and transactions are short.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Engine, Row, text

from functions.archive.holds import NOT_HELD
from functions.archive.layout import Shard
from functions.archive.message_file import BATCH_SIZE, ArchivedMessage
from functions.pacer import Pacer

_CHATS: Final = 1_000
"""Chats whose oldest message is read with one statement."""
_CHATS_A_READ: Final = 50
_FIRST_ROWS: Final = 20
"""How many chats one statement reads, and how many rows of each. Longer chats are continued one by one."""

_DAY = "CAST(m.created_at AT TIME ZONE 'UTC' AS date)"
_ARCHIVABLE = f"""
    m.seq <= greatest(w.delivered_seq, w.read_seq)
    AND {_DAY} < CAST(now() AT TIME ZONE 'UTC' AS date) - CAST(:days AS int)
    AND m.created_at < now() - make_interval(secs => :settled_s)
    AND m.created_at >= TIMESTAMPTZ '0001-01-02 00:00+00'
    AND {NOT_HELD.format(day=_DAY)}
"""
"""The recipient has it, its day ended at least `days` days ago and is not on hold, and it has a name.

Its sender can neither edit nor unsend it any more, so a text that is taken back is never in the archive.
"""

_TIME = """to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

_OLDEST = text(
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
            ORDER BY seq LIMIT :limit
        ) message
    )
    SELECT m.chat_id, m.seq, m.id, m.sender_id, m.recipient_id, m.client_id, m.text,
        {_TIME.format(time="m.created_at")} AS created_at, m.data, m.reply_to, m.change,
        {_TIME.format(time="m.edited_at")} AS edited_at,
        {_TIME.format(time="m.deleted_at")} AS deleted_at, m.reactions, m.kind,
        coalesce(
            {_ARCHIVABLE} AND (CAST(:day AS date) IS NULL OR {_DAY} = CAST(:day AS date)), false
        ) AS archivable
    FROM m
    LEFT JOIN chat_members w ON w.chat_id = m.chat_id AND w.user_id = m.recipient_id
    ORDER BY m.chat_id, m.seq
    """
)


class OldestMessage(NamedTuple):
    """The oldest stored message of a chat."""

    chat_id: UUID
    seq: int | None
    """None if the chat has no messages or belongs to another shard."""
    day: date | None
    """Its UTC day. None if it cannot be archived, because then nothing in the chat can."""


@dataclass(frozen=True)
class Selection:
    """The messages in the chats of one shard that can be archived because they are older than `days`."""

    engine: Engine
    pacer: Pacer
    shard: Shard
    days: int
    settled_s: int
    """So long after it was sent, a message has been edited or unsent, or never will be."""

    def next_day(self, after: date) -> date | None:
        """Return the oldest day after `after` that has something to archive."""
        days = (oldest.day for page in self._oldest() for oldest in page)
        return min((day for day in days if day is not None and day > after), default=None)

    def messages(self, day: date | None) -> Iterator[list[ArchivedMessage]]:
        """Yield, in batches, what can be archived of a day or of all days, sorted by chat and seq.

        A chat is archived from its beginning up to the first message that has to stay. Ends early when
        the run is out of time.
        """
        for page in self._oldest():
            wanted = [
                (oldest.chat_id, oldest.seq)
                for oldest in page
                if oldest.seq is not None and oldest.day is not None and day in (None, oldest.day)
            ]
            for start in range(0, len(wanted), _CHATS_A_READ):
                if self.pacer.out_of_time:
                    return
                chats = wanted[start : start + _CHATS_A_READ]
                rows = self._rows(chats, _FIRST_ROWS, day)
                for chat_id, _ in chats:
                    yield from self._from_beginning(rows[chat_id], day)

    def _from_beginning(self, rows: Sequence[Row[Any]], day: date | None) -> Iterator[list[ArchivedMessage]]:
        """Yield what can be archived of a chat, given its first rows."""
        limit = _FIRST_ROWS
        while messages := [_to_message(row) for row in takewhile(lambda row: row.archivable, rows)]:
            yield messages
            if len(messages) < limit:
                return
            limit = BATCH_SIZE
            last = messages[-1]
            rows = self._rows([(last.chat_id, last.seq + 1)], limit, day)[last.chat_id]

    @property
    def _ages(self) -> dict[str, int]:
        return {"days": self.days, "settled_s": self.settled_s}

    def _oldest(self) -> Iterator[list[OldestMessage]]:
        """Walk through all chats, page by page."""
        params: dict[str, Any] = {"of": self.shard.of, "shard": self.shard.number, **self._ages}
        after = UUID(int=0)
        while not self.pacer.out_of_time:
            with self.engine.begin() as conn:
                page = [OldestMessage(*row) for row in conn.execute(_OLDEST, {**params, "after": after})]
            self.pacer.pause()
            yield page
            if len(page) < _CHATS:
                return
            after = page[-1].chat_id

    def _rows(
        self, starts: Sequence[tuple[UUID, int]], limit: int, day: date | None
    ) -> dict[UUID, list[Row[Any]]]:
        """Read up to `limit` rows of each chat, starting with a seq."""
        params = {
            "chats": [chat_id for chat_id, _ in starts],
            "seqs": [seq for _, seq in starts],
            "limit": limit,
            "day": day,
            **self._ages,
        }
        found: dict[UUID, list[Row[Any]]] = defaultdict(list)
        with self.engine.begin() as conn:
            for row in conn.execute(_ROWS, params):
                found[row.chat_id].append(row)
        self.pacer.pause()
        return found


def _to_message(row: Row[Any]) -> ArchivedMessage:
    return ArchivedMessage(
        chat_id=row.chat_id,
        seq=row.seq,
        id=row.id,
        sender_id=row.sender_id,
        recipient_id=row.recipient_id,
        text=row.text,
        client_id=row.client_id,
        created_at=row.created_at,
        data=row.data,
        reply_to=row.reply_to,
        change=row.change,
        edited_at=row.edited_at,
        deleted_at=row.deleted_at,
        reactions=row.reactions,
        kind=row.kind,
    )
