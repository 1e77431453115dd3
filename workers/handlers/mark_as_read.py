"""`mark_as_read`: moves the reader's watermark forward and tells the other side."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from infra.wire.commands import MarkAsRead
from infra.wire.events import MESSAGE_STATUS, MessageStatus, ReadAck, iso_ms
from workers.chats import Chat, read_chats, require_member
from workers.errors import Refused
from workers.requests import Outcome, Request
from workers.rules import Rules

_LOCK = text(
    """
    SELECT w.chat_id, w.user_id, w.read_seq
    FROM chat_members w
    JOIN unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS reader (chat_id, user_id)
        ON w.chat_id = reader.chat_id AND w.user_id = reader.user_id
    ORDER BY w.chat_id, w.user_id
    FOR NO KEY UPDATE OF w
    """
)
_ADVANCE = text(
    """
    UPDATE chat_members w
    SET read_seq = seen.up_to, delivered_seq = greatest(w.delivered_seq, seen.up_to)
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[]), CAST(:up_tos AS bigint[]))
        AS seen (chat_id, user_id, up_to)
    WHERE w.chat_id = seen.chat_id AND w.user_id = seen.user_id
    RETURNING w.chat_id, w.user_id, now() AS at
    """
)
_UNREAD = text(
    """
    SELECT reader.chat_id, reader.user_id, count(m.seq) AS unread
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS reader (chat_id, user_id)
    JOIN chat_members w ON w.chat_id = reader.chat_id AND w.user_id = reader.user_id
    LEFT JOIN messages m ON m.chat_id = w.chat_id AND m.seq > w.read_seq
        AND m.recipient_id = w.user_id AND m.sender_id <> w.user_id
    GROUP BY reader.chat_id, reader.user_id
    """
)


def mark_as_read(conn: Connection, requests: Sequence[Request[MarkAsRead]], rules: Rules) -> Outcome:
    """Advance the watermarks; never back, and never past the end of the chat."""
    outcome = Outcome()
    chats = read_chats(conn, {request.command.chat_id for request in requests})
    allowed: list[tuple[Request[MarkAsRead], Chat]] = []
    for request in requests:
        try:
            allowed.append((request, require_member(chats, request.command.chat_id, request.user_id)))
        except Refused as refused:
            outcome.fail(request, refused.code, refused.message)
    if allowed:
        _advance(conn, allowed, outcome)
    return outcome


def read_unread(conn: Connection, readers: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], int]:
    """Count what the users have not read, by chat and user."""
    rows = conn.execute(_UNREAD, _columns(readers))
    return {(row.chat_id, row.user_id): row.unread for row in rows}


def _advance(conn: Connection, allowed: Sequence[tuple[Request[MarkAsRead], Chat]], outcome: Outcome) -> None:
    readers = sorted({(chat.id, request.user_id) for request, chat in allowed})
    rows = conn.execute(_LOCK, _columns(readers))
    before = {(row.chat_id, row.user_id): row.read_seq for row in rows}
    after = dict(before)
    for request, chat in allowed:
        asked = chat.last_seq if request.command.up_to is None else request.command.up_to
        reader = (chat.id, request.user_id)
        after[reader] = max(after[reader], min(asked, chat.last_seq))
    moved = [reader for reader in readers if after[reader] > before[reader]]
    moved_at = {}
    if moved:
        rows = conn.execute(_ADVANCE, {**_columns(moved), "up_tos": [after[reader] for reader in moved]})
        moved_at = {(row.chat_id, row.user_id): iso_ms(row.at) for row in rows}
    unread = read_unread(conn, readers)
    for request, chat in allowed:
        reader = (chat.id, request.user_id)
        outcome.succeed(request, ReadAck(read_up_to=after[reader], unread=unread[reader]))
        at = moved_at.pop(reader, None)
        if at is not None:
            _tell(outcome, request, chat, after[reader], at)


def _tell(outcome: Outcome, request: Request[MarkAsRead], chat: Chat, up_to: int, at: str) -> None:
    status = MessageStatus(
        chat_id=str(chat.id), user_id=str(request.user_id), status="read", up_to=up_to, at=at
    )
    for user_id in {request.user_id, chat.peer_of(request.user_id)}:
        outcome.emit(user_id, MESSAGE_STATUS, status, skip=request.socket_id)


def _columns(readers: Sequence[tuple[UUID, UUID]]) -> dict[str, list[UUID]]:
    return {"chats": [chat_id for chat_id, _ in readers], "users": [user_id for _, user_id in readers]}
