"""Deletes messages from Postgres once they are in the archive."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Engine, text

from functions.archive.holds import NOT_HELD
from functions.archive.message_file import ArchivedMessage
from functions.archive.patience import patiently
from infra.store.counting import note_holes

_DELETE = text(
    f"""
    WITH found AS MATERIALIZED (
        SELECT m.chat_id, m.seq
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]), CAST(:changes AS bigint[])
        ) AS archived (chat_id, seq, id, change)
        JOIN messages m ON m.chat_id = archived.chat_id AND m.seq = archived.seq AND m.id = archived.id
            AND m.change IS NOT DISTINCT FROM archived.change
        WHERE {NOT_HELD.format(day="CAST(:day AS date)")}
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
    ), holes AS ({note_holes("gone")})
    SELECT count(*) FROM gone
    """
)
"""Locks rows in key order, so that two runs cannot deadlock. The later one finds nothing left.

It checks the hold itself: a statement that started before the hold cannot see messages restored after it.
A message that got a reaction after it was written to the archive stays; the next object holds it anew.
"""


def delete_messages(engine: Engine, day: date, messages: Sequence[ArchivedMessage]) -> int:
    """Delete exactly these messages and note that they are archived. Return how many were deleted.

    Tried several times when rows are locked. Raises ArchiveError and sqlalchemy.exc.SQLAlchemyError.
    """
    params = {
        **key_columns(messages),
        "changes": [message.change for message in messages],
        "day": day,
    }
    return patiently(engine, lambda conn: int(conn.execute(_DELETE, params).scalar_one()))


def key_columns(messages: Sequence[ArchivedMessage]) -> dict[str, Any]:
    """Return the parameters `chats`, `seqs` and `ids` of a statement about these messages."""
    return {
        "chats": [message.chat_id for message in messages],
        "seqs": [message.seq for message in messages],
        "ids": [message.id for message in messages],
    }
