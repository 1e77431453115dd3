"""`clear_chat`: shows the user none of the messages that a chat has now. The other member keeps them.

Cleared messages count as delivered and read, so none of them is delivered later or counted as unread.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from infra.store.unread import remove_marks
from infra.wire.commands import ClearChat
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import CHAT_CHANGED, ClearAck, iso_ms
from infra.wire.inbox import Position
from workers.arrays import array
from workers.chats import Chat, read_chats, require_member
from workers.context import HandlerContext
from workers.locking import LockingStatement
from workers.members import Member, lock_members, member_columns, read_members, tell_read, to_own
from workers.outcome import Outcome
from workers.requests import Request
from workers.unread import tell_unread

_CLEAR = text(
    f"""
    WITH moved AS (
        UPDATE chat_members w
        SET cleared_seq = cleared.up_to,
            delivered_seq = greatest(w.delivered_seq, cleared.up_to),
            read_seq = greatest(w.read_seq, cleared.up_to)
        FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[]), CAST(:up_tos AS bigint[]))
            AS cleared (chat_id, user_id, up_to)
        WHERE w.chat_id = cleared.chat_id AND w.user_id = cleared.user_id
        RETURNING w.chat_id, w.user_id, w.read_seq
    ), unmarked AS ({remove_marks("moved")})
    SELECT chat_id, user_id, now() AS at FROM moved
    """
)


_LOCK = LockingStatement(
    """
    SELECT id FROM chats WHERE id = ANY(CAST(:chats AS uuid[])) ORDER BY id FOR NO KEY UPDATE {skip_locked}
    """
)
"""Locked before its members, as wherever both are waited for."""
_NOTE = text(
    """
    UPDATE chats c
    SET lo_changed_at = CASE WHEN c.user_lo = ANY(cleared.users) THEN now() ELSE c.lo_changed_at END,
        hi_changed_at = CASE WHEN c.user_hi = ANY(cleared.users) THEN now() ELSE c.hi_changed_at END
    FROM (
        SELECT chat_id, array_agg(user_id) AS users
        FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS cleared (chat_id, user_id)
        GROUP BY chat_id
    ) cleared
    WHERE c.id = cleared.chat_id
    """
)
"""So that lists of what has changed have the chat."""


def clear_chats(conn: Connection, requests: Sequence[Request[ClearChat]], context: HandlerContext) -> Outcome:
    """Clear the chats for the users who ask, never less than before and never past the end of the chat."""
    outcome = Outcome()
    chats = read_chats(conn, {str(request.command.chat_id) for request in requests})
    allowed: list[tuple[Request[ClearChat], Chat]] = []
    for request in requests:
        with outcome.rejections(request):
            chat = require_member(chats, str(request.command.chat_id), request.user_id)
            allowed.append((request, chat))
    if allowed:
        _clear(conn, allowed, context, outcome)
    return outcome


def _clear(
    conn: Connection,
    allowed: Sequence[tuple[Request[ClearChat], Chat]],
    context: HandlerContext,
    outcome: Outcome,
) -> None:
    held = set(
        conn.execute(_LOCK.for_(context), {"chats": array({chat.id for _, chat in allowed})}).scalars()
    )
    members = {(chat.id, request.user_id) for request, chat in allowed if chat.id in held}
    locked = lock_members(conn, members, context)
    up_tos = {member: row.cleared_seq for member, row in locked.items()}
    for request, chat in allowed:
        member = (chat.id, request.user_id)
        if member in locked:
            asked = chat.last_seq if request.command.up_to is None else request.command.up_to
            up_tos[member] = max(up_tos[member], min(asked, chat.last_seq))
    cleared = {one: up_to for one, up_to in up_tos.items() if up_to > locked[one].cleared_seq}
    cleared_at = _write(conn, cleared)
    tell_unread(conn, {user_id for _, user_id in cleared}, outcome)
    states = read_members(conn, {chat.id for _, chat in allowed})
    for request, chat in allowed:
        member = (chat.id, request.user_id)
        if member not in locked:
            outcome.reject(request, Rejection(ErrorCode.UNAVAILABLE))
            continue
        up_to = up_tos[member]
        outcome.succeed(request, ClearAck(cleared_up_to=up_to), acked_up_to=Position(chat.id, up_to))
        outcome.emit(request.user_id, CHAT_CHANGED, to_own(states[member]))
        at = cleared_at.pop(member, None)
        if at is not None and up_to > locked[member].read_seq:
            tell_read(outcome, chat, locked[member], up_to, at, skip=request.socket_id)


def _write(conn: Connection, cleared: Mapping[Member, int]) -> dict[Member, str]:
    """Clear the chats; return the time, by member."""
    if not cleared:
        return {}
    rows = conn.execute(_CLEAR, {**member_columns(cleared), "up_tos": array(cleared.values())}).all()
    conn.execute(_NOTE, member_columns(cleared))
    return {(row.chat_id, row.user_id): iso_ms(row.at) for row in rows}
