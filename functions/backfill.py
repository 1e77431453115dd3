"""Fills in what rows of earlier releases lack: numbers of messages, places of chats, and which are read."""

from typing import Any, Final
from uuid import UUID

import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy import Engine, Row, TextClause, text
from sqlalchemy.exc import OperationalError

from functions.data_errors import in_halves
from functions.numbering import UNREAD_AFTER, number_messages
from functions.pacer import Pacer
from infra.store.counting import NUMBERED_AFTER
from infra.store.unread import remove_marks

log = structlog.get_logger(__name__)

_CHATS: Final = 1_000
"""Chats that are looked at with one statement."""
_FEW: Final = 100
"""Chats with so few messages to number are left alone: counting them is quick."""

_WALK = text(
    f"""
    SELECT c.id, c.is_behind AND c.sweep_at IS NULL AS is_behind,
        (c.lo_unread OR c.hi_unread) AND c.sweep_at IS NULL AS is_marked,
        c.numbered_after - {UNREAD_AFTER} > {_FEW}
            AND EXISTS (SELECT FROM messages WHERE chat_id = c.id AND seq = c.numbered_after) AS has_many
    FROM (
        SELECT id, is_behind, sweep_at, lo_unread, hi_unread,
            {NUMBERED_AFTER.format(chat="chats")} AS numbered_after
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
_UNMARK = text(
    f"""
    WITH member AS (
        SELECT chat_id, user_id, read_seq FROM chat_members WHERE chat_id = ANY(CAST(:chats AS uuid[]))
    )
    {remove_marks("member")}
    """
)


def backfill(engine: Engine, pacer: Pacer) -> int:
    """Walk through all chats; the next run continues. Return how many could not be handled.

    Raises sqlalchemy.exc.SQLAlchemyError.
    """
    messages, placed = 0, 0
    failed: set[UUID] = set()

    def skip(chat: UUID, error: Exception) -> None:
        failed.add(chat)
        log.error("row_skipped", function="cleanup", table="chats", key=str(chat), error=type(error).__name__)

    chat_id = UUID(int=0)
    while not pacer.out_of_time:
        chats = _run(engine, pacer, _WALK, after=chat_id)
        behind = [chat.id for chat in chats if chat.is_behind]
        in_halves(lambda some: _run(engine, pacer, _PLACE, chats=list(some)), behind, skip)
        placed += len(behind)
        marked = [chat.id for chat in chats if chat.is_marked]
        in_halves(lambda some: _run(engine, pacer, _UNMARK, chats=list(some)), marked, skip)
        for long in (chat.id for chat in chats if chat.has_many):
            messages += sum(in_halves(lambda one: number_messages(engine, pacer, one[0]), [long], skip))
        if len(chats) < _CHATS:
            break
        chat_id = chats[-1].id
    if messages or placed:
        log.info("backfilled", messages=messages, chats=placed)
    return len(failed)


def _run(engine: Engine, pacer: Pacer, statement: TextClause, **params: Any) -> list[Row[Any]]:
    """Run a statement in a transaction of its own. What stays locked is left to the next run."""
    try:
        with engine.begin() as conn:
            result = conn.execute(statement, params)
            rows = list(result) if result.returns_rows else []
        pacer.pause()
        return rows
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return []
        raise
