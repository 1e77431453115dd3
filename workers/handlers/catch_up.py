"""What a socket gets after it has connected: everything not yet delivered to its user, in pages."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from infra.wire.commands import CatchUp, CatchUpCursor
from infra.wire.errors import ErrorCode
from infra.wire.inbox import CatchUpPage, PendingMessage, Position
from workers.handlers.introduce import provide_profiles
from workers.messages import COLUMNS, JOINS, to_message
from workers.requests import Outcome, Request
from workers.rules import Rules

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOBODY = UUID(int=0)
_PAGE = text(
    f"""
    SELECT wanted.request, {COLUMNS}
    FROM unnest(
        CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:times AS timestamptz[]),
        CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])
    ) AS wanted (request, user_id, after_time, after_chat, after_seq)
    CROSS JOIN LATERAL (
        SELECT m.* FROM chat_members mine
        JOIN chats c ON c.id = mine.chat_id AND c.last_seq > mine.delivered_seq
        JOIN messages m ON m.chat_id = mine.chat_id AND m.seq > mine.delivered_seq
            AND m.recipient_id = mine.user_id
        WHERE mine.user_id = wanted.user_id
            AND (m.created_at, m.chat_id, m.seq)
                > (wanted.after_time, wanted.after_chat, wanted.after_seq)
        ORDER BY m.created_at, m.chat_id, m.seq
        LIMIT :page
    ) m
    {JOINS}
    ORDER BY wanted.request, m.created_at, m.chat_id, m.seq
    """
)
"""Oldest first; `created_at` never goes back within a chat, so each chat comes in the order of seq."""


def catch_up(conn: Connection, requests: Sequence[Request[CatchUp]], rules: Rules) -> Outcome:
    """Answer each socket with its next page."""
    outcome = Outcome()
    allowed = _with_profile(conn, requests, rules, outcome)
    if not allowed:
        return outcome
    start = CatchUpCursor(created_at_us=0, chat_id=_NOBODY, seq=0)
    cursors = [request.command.after or start for request in allowed]
    rows = conn.execute(
        _PAGE,
        {
            "requests": list(range(len(allowed))),
            "users": [request.user_id for request in allowed],
            "times": [_EPOCH + timedelta(microseconds=cursor.created_at_us) for cursor in cursors],
            "chats": [cursor.chat_id for cursor in cursors],
            "seqs": [cursor.seq for cursor in cursors],
            "page": rules.page,
        },
    ).all()
    for index, request in enumerate(allowed):
        page = [row for row in rows if row.request == index]
        after = None
        if len(page) == rules.page:
            after = CatchUpCursor(
                created_at_us=(page[-1].created_at - _EPOCH) // timedelta(microseconds=1),
                chat_id=page[-1].chat_id,
                seq=page[-1].seq,
            )
        outcome.succeed(
            request,
            CatchUpPage(
                messages=[
                    PendingMessage(
                        Position(str(row.chat_id), row.seq), msgspec.Raw(msgspec.json.encode(to_message(row)))
                    )
                    for row in page
                ],
                next=after,
            ),
        )
    return outcome


def _with_profile(
    conn: Connection, requests: Sequence[Request[CatchUp]], rules: Rules, outcome: Outcome
) -> list[Request[CatchUp]]:
    known = provide_profiles(conn, requests, rules)
    for request in requests:
        if request.user_id not in known:
            outcome.fail(request, ErrorCode.PROFILE_MISSING)
    return [request for request in requests if request.user_id in known]
