"""Fills in what rows of earlier releases lack, a portion at a time: numbers of messages, places of chats.

Messages are numbered backwards from the first one that has a number, up to one that is missing, so that they
need not be counted one by one; see `infra.store.counting`. Chats get a place in the index of `list_chats`.
"""

from typing import Any, Final
from uuid import UUID

import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy import Engine, Row, TextClause, text
from sqlalchemy.exc import OperationalError

from functions.pacer import Pacer
from infra.store.counting import NUMBERED_AFTER

log = structlog.get_logger(__name__)

_CHATS: Final = 1_000
"""Chats that are looked at with one statement."""
_PORTION: Final = 1_000
"""The most messages that are numbered in one transaction; nobody can write to their chat meanwhile."""
_FEW: Final = 100
"""Chats with so few messages to number are left alone: counting them is quick."""

_READ = "(SELECT min(read_seq) FROM chat_members WHERE chat_id = c.id)"
_WALK = text(
    f"""
    SELECT c.id, c.is_behind AND c.sweep_at IS NULL AS is_behind,
        c.numbered_after - {_READ} > {_FEW}
            AND EXISTS (SELECT FROM messages WHERE chat_id = c.id AND seq = c.numbered_after) AS has_many
    FROM (
        SELECT id, is_behind, sweep_at, {NUMBERED_AFTER.format(chat="chats")} AS numbered_after
        FROM chats WHERE id > :after ORDER BY id LIMIT {_CHATS}
    ) c
    ORDER BY c.id
    """
)
_PLACE = text(
    """
    UPDATE chats c SET listed_at = c.activity_at, is_behind = false
    FROM (
        SELECT id FROM chats WHERE id = ANY(CAST(:chats AS uuid[])) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    ) held
    WHERE c.id = held.id
    """
)
_LOCK = text("SELECT FROM chats WHERE id = :chat FOR NO KEY UPDATE")
_NUMBER = text(
    f"""
    WITH chat AS MATERIALIZED (
        SELECT c.id, c.last_seq, {NUMBERED_AFTER.format(chat="c")} AS numbered_after,
            coalesce(CAST(:after AS bigint), {_READ}) AS after,
            CASE WHEN c.to_lo + c.to_hi = c.last_seq THEN c.to_lo ELSE 0 END AS to_lo
        FROM chats c WHERE c.id = :chat
    ), start AS MATERIALIZED (
        SELECT CASE WHEN chat.numbered_after = chat.last_seq THEN chat.to_lo
            ELSE next.to_lo - CAST(next.recipient_id <= next.sender_id AS int) END AS to_lo
        FROM chat LEFT JOIN messages next ON next.chat_id = chat.id AND next.seq = chat.numbered_after + 1
    ), found AS MATERIALIZED (
        SELECT m.seq, row_number() OVER back AS place,
            count(*) FILTER (WHERE m.recipient_id <= m.sender_id) OVER back
                - CAST(m.recipient_id <= m.sender_id AS int) AS later_to_lo
        FROM chat CROSS JOIN LATERAL (
            SELECT seq, sender_id, recipient_id FROM messages
            WHERE chat_id = chat.id AND seq > chat.after AND seq <= chat.numbered_after
            ORDER BY seq DESC LIMIT :portion
        ) m
        WINDOW back AS (ORDER BY m.seq DESC)
    ), numbered AS (
        UPDATE messages m SET to_lo = start.to_lo - found.later_to_lo
        FROM chat, start, found
        WHERE m.chat_id = :chat AND m.seq = found.seq AND start.to_lo IS NOT NULL
            AND found.seq = chat.numbered_after + 1 - found.place
        RETURNING m.seq
    ), noted AS (
        UPDATE chats c
        SET to_lo = chat.to_lo, to_hi = chat.last_seq - chat.to_lo, numbered_after = lowest.seq - 1
        FROM chat, (SELECT min(seq) AS seq FROM numbered) lowest
        WHERE c.id = chat.id AND lowest.seq IS NOT NULL
    )
    SELECT count(*) AS messages FROM numbered
    """
)
"""Stops before a message that is missing. It has to see what was stored before the chat was locked.

MATERIALIZED: the planner might look for all messages again for each of them.
"""


def backfill(engine: Engine, pacer: Pacer) -> None:
    """Walk through all chats; the next run continues. Raises sqlalchemy.exc.SQLAlchemyError."""
    messages, placed = 0, 0
    chat_id = UUID(int=0)
    while not pacer.out_of_time:
        chats = _run(engine, pacer, _WALK, after=chat_id)
        if behind := [chat.id for chat in chats if chat.is_behind]:
            _run(engine, pacer, _PLACE, chats=behind)
            placed += len(behind)
        messages += sum(number_messages(engine, pacer, chat.id) for chat in chats if chat.has_many)
        if len(chats) < _CHATS:
            break
        chat_id = chats[-1].id
    if messages or placed:
        log.info("backfilled", messages=messages, chats=placed)


def number_messages(engine: Engine, pacer: Pacer, chat_id: UUID, after: int | None = None) -> int:
    """Number messages of a chat as far as possible: those after a seq, by default those unread by somebody.

    Returns how many got a number. Raises sqlalchemy.exc.SQLAlchemyError.
    """
    messages = 0
    while not pacer.out_of_time:
        found = _run(engine, pacer, _LOCK, _NUMBER, chat=chat_id, after=after, portion=_PORTION)
        numbered = sum(row.messages for row in found)
        messages += numbered
        if numbered < _PORTION:
            break
    return messages


def _run(engine: Engine, pacer: Pacer, *statements: TextClause, **params: Any) -> list[Row[Any]]:
    """Run statements in one transaction; return the rows of the last one. What stays locked is left alone."""
    try:
        with engine.begin() as conn:
            for statement in statements:
                result = conn.execute(statement, params)
            rows = list(result) if result.returns_rows else []
        pacer.pause()
        return rows
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return []
        raise
