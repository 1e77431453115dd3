"""`mark_as_read`: moves the reader's watermark forward and tells the other member.

It does not move the delivery watermark: the reader's other sockets may not have the messages yet.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from infra.store.unread import remove_marks
from infra.wire.commands import MarkAsRead
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import ReadAck, iso_ms
from infra.wire.inbox import Position
from workers.arrays import array
from workers.chats import Chat, read_chats, require_member
from workers.context import HandlerContext
from workers.members import Member, lock_members, member_columns, read_unread, tell_read
from workers.outcome import Outcome
from workers.requests import Request
from workers.unread import tell_unread

_ADVANCE = text(
    f"""
    WITH moved AS (
        UPDATE chat_members w SET read_seq = seen.up_to
        FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[]), CAST(:up_tos AS bigint[]))
            AS seen (chat_id, user_id, up_to)
        WHERE w.chat_id = seen.chat_id AND w.user_id = seen.user_id
        RETURNING w.chat_id, w.user_id, w.read_seq
    ), unmarked AS ({remove_marks("moved")})
    SELECT chat_id, user_id, now() AS at FROM moved
    """
)


def mark_as_read(
    conn: Connection, requests: Sequence[Request[MarkAsRead]], context: HandlerContext
) -> Outcome:
    """Advance the watermarks, never back and never past the end of the chat."""
    outcome = Outcome()
    chats = read_chats(conn, {str(request.command.chat_id) for request in requests})
    allowed: list[tuple[Request[MarkAsRead], Chat]] = []
    for request in requests:
        with outcome.rejections(request):
            chat = require_member(chats, str(request.command.chat_id), request.user_id)
            allowed.append((request, chat))
    if allowed:
        _advance(conn, allowed, context, outcome)
    return outcome


def _advance(
    conn: Connection,
    allowed: Sequence[tuple[Request[MarkAsRead], Chat]],
    context: HandlerContext,
    outcome: Outcome,
) -> None:
    locked = lock_members(conn, {(chat.id, request.user_id) for request, chat in allowed}, context)
    up_tos = {reader: row.read_seq for reader, row in locked.items()}
    held = []
    for request, chat in allowed:
        reader = (chat.id, request.user_id)
        if reader in locked:
            asked = chat.last_seq if request.command.up_to is None else request.command.up_to
            up_tos[reader] = max(up_tos[reader], min(asked, chat.last_seq))
            held.append((request, chat))
        else:
            outcome.reject(request, Rejection(ErrorCode.UNAVAILABLE))
    moved = {reader: seq for reader, seq in up_tos.items() if seq > locked[reader].read_seq}
    moved_at = _write(conn, moved)
    tell_unread(conn, {user_id for _, user_id in moved}, outcome)
    unread = read_unread(conn, list(locked))
    for request, chat in held:
        reader = (chat.id, request.user_id)
        up_to = up_tos[reader]
        ack = ReadAck(read_up_to=up_to, unread=unread[reader])
        outcome.succeed(request, ack, acked_up_to=Position(chat.id, up_to))
        if (at := moved_at.pop(reader, None)) is not None:
            tell_read(outcome, chat, locked[reader], up_to, at, skip=request.socket_id)


def _write(conn: Connection, moved: Mapping[Member, int]) -> dict[Member, str]:
    """Move the watermarks; return the time of each move, by reader."""
    if not moved:
        return {}
    rows = conn.execute(_ADVANCE, {**member_columns(moved), "up_tos": array(moved.values())})
    return {(row.chat_id, row.user_id): iso_ms(row.at) for row in rows}
