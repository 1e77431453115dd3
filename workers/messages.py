"""Stored messages: how they are read, and how clients see them."""

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, text

from infra.wire.events import NEW_MESSAGE, Message, Status, iso_ms
from infra.wire.inbox import Emit, Position, Target
from workers.arrays import array

COLUMNS = """
    m.chat_id, m.seq, m.id, m.sender_id, s.username AS sender_username,
    m.recipient_id, r.username AS recipient_username,
    m.text, m.client_id, m.created_at, w.delivered_seq, w.read_seq
"""
JOINS = """
    JOIN profiles s ON s.id = m.sender_id
    JOIN profiles r ON r.id = m.recipient_id
    CROSS JOIN LATERAL (
        SELECT * FROM chat_members WHERE chat_id = m.chat_id AND user_id = m.recipient_id LIMIT 1
    ) w
"""
"""The joins that COLUMNS needs after `FROM messages m`.

LATERAL: the planner would read all chats of the recipient for each message, if most users have few.
"""

_BY_POSITION = text(
    f"""
    SELECT {COLUMNS}
    FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])) AS wanted (chat_id, seq)
    JOIN messages m ON m.chat_id = wanted.chat_id AND m.seq = wanted.seq
    {JOINS}
    """
)


def read_messages(conn: Connection, positions: Collection[tuple[str, int]]) -> dict[tuple[str, int], Message]:
    """Return the messages at these positions, by chat and seq, with one statement."""
    if not positions:
        return {}
    params = {
        "chats": array(chat_id for chat_id, _ in positions),
        "seqs": array(seq for _, seq in positions),
    }
    return {(row.chat_id, row.seq): to_message(row) for row in conn.execute(_BY_POSITION, params)}


def to_message(row: Row[Any]) -> Message:
    """Return a row of COLUMNS as clients see it."""
    return Message(
        id=row.id,
        chat_id=row.chat_id,
        seq=row.seq,
        sender_id=row.sender_id,
        sender_username=row.sender_username,
        recipient_id=row.recipient_id,
        recipient_username=row.recipient_username,
        text=row.text,
        created_at=iso_ms(row.created_at),
        status=_status(row.seq, row.delivered_seq, row.read_seq),
        client_id=row.client_id or msgspec.UNSET,
    )


def deliveries(messages: Iterable[Message]) -> list[Emit]:
    """Return the emits that deliver the messages to all sockets of their recipients."""
    return [
        Emit(
            [Target(message.recipient_id, NEW_MESSAGE, ack=True)],
            msgspec.Raw(msgspec.json.encode(message)),
            Position(message.chat_id, message.seq),
        )
        for message in messages
    ]


def _status(seq: int, delivered_seq: int, read_seq: int) -> Status:
    if seq <= read_seq:
        return "read"
    return "delivered" if seq <= delivered_seq else "sent"
