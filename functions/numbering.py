"""Numbers messages that have no number, so that they need not be counted one by one.

Goes backwards from the first message that has one, up to a message that is missing, because numbers only
tell how many messages there are between two if all of these are stored. See `infra.store.counting`.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, Final
from uuid import UUID

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import OperationalError

from functions.pacer import Pacer
from infra.store.counting import NUMBERED_AFTER

_PORTION: Final = 1_000
"""The most messages that are numbered in one transaction; nobody can write to their chat meanwhile."""

UNREAD_AFTER: Final = "(SELECT min(read_seq) FROM chat_members WHERE chat_id = c.id)"
"""SQL: the seq after which some member of the chat `c` has not read."""

_CHAT = text(
    f"""
    SELECT c.last_seq, {NUMBERED_AFTER.format(chat="c")} AS numbered_after,
        CASE WHEN c.to_lo + c.to_hi = c.last_seq THEN c.to_lo ELSE 0 END AS to_lo,
        coalesce(CAST(:after AS bigint), {UNREAD_AFTER}) AS after
    FROM chats c WHERE c.id = :chat
    FOR NO KEY UPDATE
    """
)
_MESSAGES = text(
    """
    SELECT seq, to_lo, CAST(recipient_id <= sender_id AS int) AS is_to_lo
    FROM messages WHERE chat_id = :chat AND seq > :after AND seq <= :first
    ORDER BY seq DESC LIMIT :portion
    """
)
_NUMBER = text(
    """
    UPDATE messages SET to_lo = (CAST(:numbers AS bigint[]))[CAST(:first - seq + 1 AS int)]
    WHERE chat_id = :chat AND seq <= :first AND seq > :first - cardinality(CAST(:numbers AS bigint[]))
    """
)
"""Gives the messages from `first` on backwards their numbers. Without a join, whose plan may be quadratic."""
_NOTE = text(
    """
    UPDATE chats SET to_lo = :to_lo, to_hi = last_seq - :to_lo, numbered_after = :numbered_after
    WHERE id = :chat
    """
)


def number_messages(engine: Engine, pacer: Pacer, chat_id: UUID, after: int | None = None) -> int:
    """Number messages of a chat as far as possible: those after a seq, by default those unread by somebody.

    Returns how many got a number; a chat that stays locked is left alone.
    Raises sqlalchemy.exc.SQLAlchemyError.
    """
    messages = 0
    while not pacer.out_of_time:
        try:
            with engine.begin() as conn:
                numbered = _number_portion(conn, chat_id, after)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            break
        pacer.pause()
        messages += numbered
        if numbered < _PORTION:
            break
    return messages


def _number_portion(conn: Connection, chat_id: UUID, after: int | None) -> int:
    chat = conn.execute(_CHAT, {"chat": chat_id, "after": after}).one_or_none()
    if chat is None:
        return 0
    # A statement of its own: it sees what was stored before the chat was locked.
    params = {
        "chat": chat_id,
        "after": chat.after,
        "first": chat.numbered_after + 1,
        "portion": _PORTION + 1,
    }
    numbers = _numbers(chat, conn.execute(_MESSAGES, params).all())
    if numbers:
        first = chat.numbered_after
        conn.execute(_NUMBER, {"chat": chat_id, "first": first, "numbers": numbers})
        conn.execute(_NOTE, {"chat": chat_id, "to_lo": chat.to_lo, "numbered_after": first - len(numbers)})
    return len(numbers)


def _numbers(chat: Row[Any], messages: Sequence[Row[Any]]) -> list[int]:
    """Return the numbers of messages, newest first, given these and the one after them, which has one."""
    number = chat.to_lo
    if chat.numbered_after < chat.last_seq:
        if not messages or messages[0].seq != chat.numbered_after + 1 or messages[0].to_lo is None:
            return []
        number = messages[0].to_lo - messages[0].is_to_lo
        messages = messages[1:]
    numbers = []
    for seq, message in zip(count(chat.numbered_after, -1), messages[:_PORTION], strict=False):
        if message.seq != seq:
            break
        numbers.append(number)
        number -= message.is_to_lo
    return numbers
