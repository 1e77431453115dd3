"""`sync`: exactly what a client misses, for every chat that has something newer than its cursor."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from infra.wire.commands import Sync
from infra.wire.events import ChatGap, SyncAck
from workers.chats import read_chats, require_member
from workers.errors import Refused
from workers.messages import Span, read_spans
from workers.requests import Outcome, Request
from workers.rules import Rules

_MESSAGES = 500
"""Most messages of one answer; the gaps that do not fit are named with `hasMore` and no messages."""

_CHATS = text(
    """
    SELECT w.user_id, c.id, c.last_seq
    FROM chat_members w JOIN chats c ON c.id = w.chat_id
    WHERE w.user_id = ANY(CAST(:users AS uuid[])) AND c.last_seq > 0
    ORDER BY c.activity_at DESC, c.id
    """
)


def sync(conn: Connection, requests: Sequence[Request[Sync]], rules: Rules) -> Outcome:
    """Answer each with its gaps, newest activity first; a chat without a cursor is a gap from seq 1."""
    outcome = Outcome()
    mentioned = read_chats(conn, {chat_id for request in requests for chat_id in request.command.cursors})
    allowed = []
    for request in requests:
        try:
            for chat_id in request.command.cursors:
                require_member(mentioned, chat_id, request.user_id)
            allowed.append(request)
        except Refused as refused:
            outcome.fail(request, refused.code, refused.message)
    rows = conn.execute(_CHATS, {"users": sorted({request.user_id for request in allowed})}).all()
    gaps = {request.id: _gaps(request, rows, rules) for request in allowed}
    messages = read_spans(conn, [span for spans in gaps.values() for span, _ in spans])
    for request in allowed:
        chats = [
            ChatGap(chat_id=str(span.chat_id), messages=messages[span], has_more=span.last < last_seq)
            for span, last_seq in gaps[request.id]
        ]
        outcome.succeed(request, SyncAck(chats=chats))
    return outcome


def _gaps(request: Request[Sync], rows: Sequence[Row[Any]], rules: Rules) -> list[tuple[Span, int]]:
    left = _MESSAGES
    gaps = []
    for row in rows:
        cursor = request.command.cursors.get(row.id, 0)
        if row.user_id != request.user_id or row.last_seq <= cursor:
            continue
        count = min(row.last_seq - cursor, rules.page_max, left)
        left -= count
        gaps.append((_span(row.id, cursor, count), row.last_seq))
    return gaps


def _span(chat_id: UUID, cursor: int, count: int) -> Span:
    return Span(chat_id, cursor + 1, cursor + count)
