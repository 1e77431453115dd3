"""Reading stored messages, the same way for acks, pages, sweeps and retries."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, text

from infra.wire.events import NEW_MESSAGE, Message, Status, iso_ms
from infra.wire.inbox import Emit, Position

COLUMNS = """
    m.chat_id, m.seq, m.id, m.sender_id, s.username AS sender_username,
    m.recipient_id, r.username AS recipient_username,
    m.text, m.client_id, m.created_at, w.delivered_seq, w.read_seq
"""
JOINS = """
    JOIN profiles s ON s.id = m.sender_id
    JOIN profiles r ON r.id = m.recipient_id
    JOIN chat_members w ON w.chat_id = m.chat_id AND w.user_id = m.recipient_id
"""
"""What a select of COLUMNS needs behind `FROM messages m`."""

_RANGES = text(
    f"""
    SELECT {COLUMNS}
    FROM unnest(CAST(:chats AS uuid[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))
        AS wanted (chat_id, first, last)
    JOIN messages m ON m.chat_id = wanted.chat_id AND m.seq BETWEEN wanted.first AND wanted.last
    {JOINS}
    ORDER BY m.chat_id, m.seq
    """
)


class Span(NamedTuple):
    """The messages `first` to `last` (inclusive) of a chat. As seq has no holes, a page is a span."""

    chat_id: UUID
    first: int
    last: int


def read_spans(conn: Connection, spans: Collection[Span]) -> dict[Span, list[Message]]:
    """Read all spans with one statement; each ascending by seq."""
    wanted = {span for span in spans if span.last >= span.first}
    found: dict[tuple[UUID, int], Message] = {}
    if wanted:
        order = sorted(wanted)
        rows = conn.execute(
            _RANGES,
            {
                "chats": [span.chat_id for span in order],
                "firsts": [span.first for span in order],
                "lasts": [span.last for span in order],
            },
        )
        found = {(row.chat_id, row.seq): to_message(row) for row in rows}
    return {
        span: [
            found[span.chat_id, seq]
            for seq in range(span.first, span.last + 1)
            if (span.chat_id, seq) in found
        ]
        for span in spans
    }


def to_message(row: Row[Any]) -> Message:
    """Turn a row of COLUMNS into what clients see."""
    return Message(
        id=str(row.id),
        chat_id=str(row.chat_id),
        seq=row.seq,
        sender_id=str(row.sender_id),
        sender_username=row.sender_username,
        recipient_id=str(row.recipient_id),
        recipient_username=row.recipient_username,
        text=row.text,
        created_at=iso_ms(row.created_at),
        status=_status(row.seq, row.delivered_seq, row.read_seq),
        client_id=row.client_id or msgspec.UNSET,
    )


def deliveries(messages: Iterable[Message]) -> list[Emit]:
    """Return what brings the messages to all sockets of their recipients."""
    return [
        Emit(
            message.recipient_id,
            NEW_MESSAGE,
            msgspec.Raw(msgspec.json.encode(message)),
            position=Position(message.chat_id, message.seq),
            ack=True,
        )
        for message in messages
    ]


def _status(seq: int, delivered_seq: int, read_seq: int) -> Status:
    if seq <= read_seq:
        return "read"
    return "delivered" if seq <= delivered_seq else "sent"
