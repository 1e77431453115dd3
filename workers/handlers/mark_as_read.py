"""`mark_as_read`: moves the reader's watermark forward and tells the other side.

What was delivered is another matter: the reader's other sockets may not have got it yet.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from infra.wire.commands import MarkAsRead
from infra.wire.errors import ErrorCode
from infra.wire.events import MESSAGE_STATUS, MessageStatus, ReadAck, iso_ms
from infra.wire.inbox import Position
from workers.arrays import array
from workers.chats import Chat, read_chats, require_member
from workers.errors import Refused
from workers.members import lock_members, member_columns
from workers.requests import Outcome, Request
from workers.rules import Rules

_ADVANCE = text(
    """
    UPDATE chat_members w SET read_seq = seen.up_to
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
    chats = read_chats(conn, {str(request.command.chat_id) for request in requests})
    allowed: list[tuple[Request[MarkAsRead], Chat]] = []
    for request in requests:
        try:
            chat = require_member(chats, str(request.command.chat_id), request.user_id)
            allowed.append((request, chat))
        except Refused as refused:
            outcome.fail(request, refused.code, refused.message)
    if allowed:
        _advance(conn, allowed, rules, outcome)
    return outcome


def read_unread(conn: Connection, readers: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Count what the users have not read, by chat and user."""
    rows = conn.execute(_UNREAD, member_columns(readers))
    return {(row.chat_id, row.user_id): row.unread for row in rows}


def _advance(
    conn: Connection, allowed: Sequence[tuple[Request[MarkAsRead], Chat]], rules: Rules, outcome: Outcome
) -> None:
    asking = {(chat.id, request.user_id) for request, chat in allowed}
    locked = lock_members(conn, asking, patient=rules.patient)
    readers = list(locked)
    after = {reader: row.read_seq for reader, row in locked.items()}
    held = []
    for request, chat in allowed:
        if (chat.id, request.user_id) in locked:
            held.append((request, chat))
        else:
            outcome.fail(request, ErrorCode.UNAVAILABLE)
    for request, chat in held:
        asked = chat.last_seq if request.command.up_to is None else request.command.up_to
        reader = (chat.id, request.user_id)
        after[reader] = max(after[reader], min(asked, chat.last_seq))
    moved = [reader for reader in readers if after[reader] > locked[reader].read_seq]
    moved_at = {}
    if moved:
        up_tos = array(after[reader] for reader in moved)
        rows = conn.execute(_ADVANCE, {**member_columns(moved), "up_tos": up_tos})
        moved_at = {(row.chat_id, row.user_id): iso_ms(row.at) for row in rows}
    unread = read_unread(conn, readers)
    for request, chat in held:
        reader = (chat.id, request.user_id)
        ack = ReadAck(read_up_to=after[reader], unread=unread[reader])
        outcome.succeed(request, ack, settled=Position(chat.id, after[reader]))
        at = moved_at.pop(reader, None)
        if at is not None:
            _tell(outcome, request, chat, after[reader], at)


def _tell(outcome: Outcome, request: Request[MarkAsRead], chat: Chat, up_to: int, at: str) -> None:
    status = MessageStatus(chat_id=chat.id, user_id=request.user_id, status="read", up_to=up_to, at=at)
    for user_id in {request.user_id, chat.peer_of(request.user_id)}:
        outcome.emit(user_id, MESSAGE_STATUS, status, skip=request.socket_id)
