"""`mark_as_read`: moves the reader's watermark forward and tells the other member.

It does not move the delivery watermark: the reader's other sockets may not have the messages yet.
"""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, text

from infra.store import outbox
from infra.store.unread import remove_marks
from infra.wire.commands import MarkAsRead
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import MessageStatus, ReadAck, iso_ms
from infra.wire.inbox import Position
from infra.wire.webhooks import MESSAGE_READ
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
    _note(conn, moved, moved_at, context)
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


def _note(
    conn: Connection, moved: Mapping[Member, int], moved_at: Mapping[Member, str], context: HandlerContext
) -> None:
    """Have the app's backend hear how far each member has read."""
    if MESSAGE_READ not in context.webhooks:
        return
    facts = [
        outbox.Fact(
            MESSAGE_READ,
            f"{chat_id}/{user_id}/{up_to}",
            chat_id,
            msgspec.json.encode(
                MessageStatus(
                    chat_id=chat_id,
                    user_id=user_id,
                    status="read",
                    up_to=up_to,
                    at=moved_at[chat_id, user_id],
                )
            ).decode(),
        )
        for (chat_id, user_id), up_to in moved.items()
    ]
    outbox.add(conn, facts, context.webhooks)
