"""`sync`: exactly what a client misses, for every chat that has something newer than its cursor."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, text

from infra.wire.commands import Sync
from infra.wire.events import ChatGap, SyncAck
from workers.chats import read_chats, require_member
from workers.errors import Refused
from workers.messages import Span, read_spans
from workers.requests import Outcome, Request
from workers.rules import Rules

_MESSAGES = 500
"""Most messages of one answer; the gaps that do not fit are named with `hasMore` and no messages."""

_GAPS = text(
    """
    SELECT wanted.request, c.id, c.last_seq, coalesce(known.seq, 0) AS seq
    FROM unnest(CAST(:requests AS int[]), CAST(:users AS uuid[])) AS wanted (request, user_id)
    JOIN chat_members w ON w.user_id = wanted.user_id
    JOIN chats c ON c.id = w.chat_id
    LEFT JOIN unnest(CAST(:askers AS int[]), CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]))
        AS known (request, chat_id, seq)
        ON known.request = wanted.request AND known.chat_id = c.id
    WHERE c.last_seq > coalesce(known.seq, 0)
    ORDER BY wanted.request, c.activity_at DESC, c.id
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
    gaps = _read_gaps(conn, allowed, rules)
    messages = read_spans(conn, [span for spans in gaps.values() for span, _ in spans])
    for index, request in enumerate(allowed):
        chats = [
            ChatGap(chat_id=str(span.chat_id), messages=messages[span], has_more=span.last < last_seq)
            for span, last_seq in gaps[index]
        ]
        outcome.succeed(request, SyncAck(chats=chats))
    return outcome


def _read_gaps(
    conn: Connection, requests: Sequence[Request[Sync]], rules: Rules
) -> dict[int, list[tuple[Span, int]]]:
    """Return what fits into the answer to each request, by its index, and the last seq of each chat."""
    cursors = [
        (index, chat_id, seq)
        for index, request in enumerate(requests)
        for chat_id, seq in request.command.cursors.items()
    ]
    rows = conn.execute(
        _GAPS,
        {
            "requests": list(range(len(requests))),
            "users": [request.user_id for request in requests],
            "askers": [index for index, _, _ in cursors],
            "chats": [chat_id for _, chat_id, _ in cursors],
            "seqs": [seq for _, _, seq in cursors],
        },
    )
    gaps: dict[int, list[tuple[Span, int]]] = defaultdict(list)
    left: dict[int, int] = defaultdict(lambda: _MESSAGES)
    for row in rows:
        count = min(row.last_seq - row.seq, rules.page_max, left[row.request])
        left[row.request] -= count
        gaps[row.request].append((Span(row.id, row.seq + 1, row.seq + count), row.last_seq))
    return gaps
