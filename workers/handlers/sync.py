"""`sync`: exactly what a client is missing, for every chat with something newer than the client's cursor."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, text

from infra.wire.commands import Sync
from infra.wire.events import ChatGap, SyncAck
from workers.arrays import array
from workers.chats import read_chats, require_member
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.pages import Page, Window, read_pages
from workers.requests import Request

_MESSAGES = 500
"""Most messages in one answer. Gaps that do not fit are listed with `hasMore` and no messages."""

_GAPS = text(
    """
    SELECT wanted.request, c.id, c.last_seq, coalesce(known.seq, 0) AS seq, stored.seq AS first_seq
    FROM unnest(CAST(:requests AS int[]), CAST(:users AS uuid[])) AS wanted (request, user_id)
    JOIN chat_members w ON w.user_id = wanted.user_id
    JOIN chats c ON c.id = w.chat_id
    LEFT JOIN unnest(CAST(:askers AS int[]), CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]))
        AS known (request, chat_id, seq)
        ON known.request = wanted.request AND known.chat_id = c.id
    LEFT JOIN LATERAL (
        SELECT m.seq FROM messages m
        WHERE m.chat_id = c.id AND m.seq > coalesce(known.seq, 0)
        ORDER BY m.seq LIMIT 1
    ) stored ON true
    WHERE c.last_seq > coalesce(known.seq, 0)
    ORDER BY wanted.request, c.activity_at DESC, c.id
    """
)
"""`first_seq` is where the stored part of a gap begins: messages that are not stored take no room."""

_LATER = Page(messages=[], has_more=True, archived_before=msgspec.UNSET)
"""For a gap that does not fit into the answer."""


@dataclass(frozen=True, slots=True)
class _Gap:
    chat_id: str
    window: Window | None
    """None when the answer has no room for it."""


def sync(conn: Connection, requests: Sequence[Request[Sync]], context: HandlerContext) -> Outcome:
    """Answer each request with its gaps, newest activity first. Without a cursor, a gap starts at seq 1."""
    outcome = Outcome()
    mentioned = read_chats(
        conn, {str(chat_id) for request in requests for chat_id in request.command.cursors}
    )
    allowed = []
    for request in requests:
        with outcome.rejections(request):
            for chat_id in request.command.cursors:
                require_member(mentioned, str(chat_id), request.user_id)
            allowed.append(request)
    gaps = _read_gaps(conn, allowed, context)
    pages = read_pages(conn, {gap.window for mine in gaps.values() for gap in mine if gap.window})
    for index, request in enumerate(allowed):
        shown = ((gap.chat_id, pages[gap.window] if gap.window else _LATER) for gap in gaps[index])
        chats = [_describe(chat_id, page) for chat_id, page in shown if not _is_nothing(page)]
        outcome.succeed(request, SyncAck(chats=chats))
    return outcome


def _describe(chat_id: str, page: Page) -> ChatGap:
    return ChatGap(
        chat_id=chat_id,
        messages=page.messages,
        has_more=page.has_more,
        archived_before=page.archived_before,
    )


def _is_nothing(page: Page) -> bool:
    """Tell whether a gap holds only messages that were deleted because of their age."""
    return not page.messages and not page.has_more and page.archived_before is msgspec.UNSET


def _read_gaps(
    conn: Connection, requests: Sequence[Request[Sync]], context: HandlerContext
) -> dict[int, list[_Gap]]:
    """Return the gaps of each request, by its index, as far as they fit into its answer."""
    cursors = [
        (index, str(chat_id), seq)
        for index, request in enumerate(requests)
        for chat_id, seq in request.command.cursors.items()
    ]
    rows = conn.execute(
        _GAPS,
        {
            "requests": array(range(len(requests))),
            "users": array(request.user_id for request in requests),
            "askers": array(index for index, _, _ in cursors),
            "chats": array(chat_id for _, chat_id, _ in cursors),
            "seqs": array(seq for _, _, seq in cursors),
        },
    )
    gaps: dict[int, list[_Gap]] = defaultdict(list)
    left: dict[int, int] = defaultdict(lambda: _MESSAGES)
    for row in rows:
        start = row.seq if row.first_seq is None else row.first_seq - 1
        stored = 0 if row.first_seq is None else row.last_seq - start
        size = min(stored, context.page_max, left[row.request])
        left[row.request] -= size
        fits = size or not stored
        gaps[row.request].append(
            _Gap(row.id, Window.after(row.id, row.last_seq, start, size) if fits else None)
        )
    return gaps
