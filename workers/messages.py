"""Stored messages: how they are read, and how clients see them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, text

from infra.store.boxes import SHOWN_DELIVERED, SHOWN_READ
from infra.wire.events import NEW_MESSAGE, Kind, Message, Quote, Reaction, Status, iso_ms
from infra.wire.inbox import Emit, Position, Target
from workers.arrays import array

COLUMNS = f"""
    m.chat_id, m.seq, m.id, m.sender_id, s.username AS sender_username,
    m.recipient_id, r.username AS recipient_username,
    m.text, m.client_id, m.created_at,
    {SHOWN_DELIVERED.format(member="w")} AS delivered_seq,
    {SHOWN_READ.format(member="w", profile="r")} AS read_seq,
    m.data, m.change, m.edited_at, m.deleted_at, m.reactions,
    m.kind, m.reply_to, quoted.*
"""
QUOTED_CHARS: Final = 200
"""How much a reply shows of the message that it answers."""
QUOTED = f"""
    LEFT JOIN LATERAL (
        SELECT q.sender_id AS quoted_id, p.username AS quoted_username,
            left(q.text, {QUOTED_CHARS}) AS quoted_text, q.change AS quoted_change,
            q.deleted_at AS quoted_deleted_at, q.kind AS quoted_kind
        FROM messages q JOIN profiles p ON p.id = q.sender_id
        WHERE q.chat_id = {{chat}} AND q.seq = {{seq}} LIMIT 1
    ) quoted ON true
"""
"""Joins the message that another one answers."""
JOINS = f"""
    JOIN profiles s ON s.id = m.sender_id
    JOIN profiles r ON r.id = m.recipient_id
    CROSS JOIN LATERAL (
        SELECT * FROM chat_members WHERE chat_id = m.chat_id AND user_id = m.recipient_id LIMIT 1
    ) w
    {QUOTED.format(chat="m.chat_id", seq="m.reply_to")}
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
        data=msgspec.UNSET if row.data is None else msgspec.Raw(row.data.encode()),
        reply_to=msgspec.UNSET
        if row.reply_to is None
        else to_quote(
            row.reply_to,
            row.quoted_id,
            row.quoted_username,
            row.quoted_text,
            row.quoted_change,
            row.quoted_deleted_at,
            row.quoted_kind,
        ),
        change=msgspec.UNSET if row.change is None else row.change,
        edited_at=_time(row.edited_at),
        deleted_at=_time(row.deleted_at),
        reactions=to_reactions(row.reactions) if row.reactions else msgspec.UNSET,
        kind=row.kind or msgspec.UNSET,
    )


def to_reactions(pairs: Iterable[Sequence[str]]) -> list[Reaction]:
    """Return the pairs of an emoji and a user, as `messages` has them, as clients see them."""
    users: dict[str, list[str]] = {}
    for emoji, user_id in pairs:
        users.setdefault(emoji, []).append(user_id)
    return [Reaction(emoji=emoji, user_ids=user_ids) for emoji, user_ids in users.items()]


def to_quote(
    seq: int,
    sender_id: str | None,
    sender_username: str,
    text: str,
    change: int | None,
    deleted_at: datetime | None,
    kind: Kind | None,
) -> Quote:
    """Return a message that a reply answers as clients see it. Without a sender, it is not stored."""
    if sender_id is None:
        return Quote(seq=seq)
    return Quote(
        seq=seq,
        sender_id=sender_id,
        sender_username=sender_username,
        text=text,
        change=msgspec.UNSET if change is None else change,
        deleted_at=_time(deleted_at),
        kind=kind or msgspec.UNSET,
    )


def _time(moment: datetime | None) -> str | msgspec.UnsetType:
    return msgspec.UNSET if moment is None else iso_ms(moment)


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
