"""`sync`: exactly what a client is missing, for every chat with something newer than the client's cursor."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, text

from infra.wire.commands import Sync
from infra.wire.events import ChatGap, SyncAck
from workers.arrays import array
from workers.chats import read_chats
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.pages import ANSWER_BYTES, Page, Window, fitting, read_pages
from workers.requests import Request

_MESSAGES = 500
"""Most messages in one answer. Gaps that do not fit are listed with `hasMore` and no messages."""
_CHATS: Final = 1_000
"""Most chats in one answer, and one more with `hasMore` that stands for all others."""

_GAPS = text(
    """
    WITH known AS MATERIALIZED (
        SELECT request, chat_id, seq
        FROM unnest(CAST(:askers AS int[]), CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]))
            AS known (request, chat_id, seq)
    ), wanted AS (
        SELECT request, chat_id, seq FROM known
        UNION ALL
        SELECT asked.request, w.chat_id, 0
        FROM unnest(CAST(:requests AS int[]), CAST(:users AS uuid[])) AS asked (request, user_id)
        JOIN chat_members w ON w.user_id = asked.user_id
        WHERE NOT EXISTS (
            SELECT FROM known WHERE known.request = asked.request AND known.chat_id = w.chat_id
        )
    ), gaps AS (
        SELECT
            wanted.request, c.id, c.last_seq, wanted.seq, stored.seq AS first_seq,
            row_number() OVER (PARTITION BY wanted.request ORDER BY c.activity_at DESC, c.id) AS place
        FROM wanted
        JOIN chats c ON c.id = wanted.chat_id AND c.last_seq > wanted.seq
        LEFT JOIN LATERAL (
            SELECT m.seq FROM messages m
            WHERE m.chat_id = c.id AND m.seq > wanted.seq
            ORDER BY m.seq LIMIT 1
        ) stored ON true
        WHERE stored.seq IS NOT NULL
            OR EXISTS (SELECT FROM archived_chats a WHERE a.chat_id = c.id AND a.seqs @> c.last_seq)
    )
    SELECT * FROM gaps WHERE place <= :listed ORDER BY request, place
    """
)
"""`known` are the cursors of all requests, `asked` the requests for chats without a cursor as well.

`first_seq` is where the stored part of a gap begins: messages that are not stored take no room. Gaps in which
all messages were deleted because of their age are left out.
"""

_LATER = Page(messages=[], has_more=True, archived_before=msgspec.UNSET)
"""For a gap that does not fit into the answer."""


@dataclass(frozen=True, slots=True)
class _Gap:
    chat_id: str
    window: Window | None
    """None when the answer has no room for it."""


_Cursors = Mapping[str, int]
"""The seqs up to which a client has everything, by chat."""


def sync(conn: Connection, requests: Sequence[Request[Sync]], context: HandlerContext) -> Outcome:
    """Answer each request with its gaps, newest activity first. Without a cursor, a gap starts at seq 1."""
    outcome = Outcome()
    given = [{str(id): seq for id, seq in request.command.cursors.items()} for request in requests]
    chats = read_chats(conn, set().union(*given))
    own = [
        {id: seq for id, seq in cursors.items() if id in chats and request.user_id in chats[id].pair}
        for request, cursors in zip(requests, given, strict=True)
    ]
    gaps = _read_gaps(conn, requests, own, context)
    pages = read_pages(conn, {gap.window for listed in gaps.values() for gap in listed if gap.window})
    for index, request in enumerate(requests):
        gone = [id for id in given[index] if id not in own[index]]
        ack = SyncAck(chats=_describe(gaps[index], pages), gone=gone or msgspec.UNSET)
        outcome.succeed(request, ack)
    return outcome


def _describe(gaps: Sequence[_Gap], pages: Mapping[Window, Page]) -> list[ChatGap]:
    """Return what an answer says about each gap, with as many messages as it has room for."""
    described = []
    room = ANSWER_BYTES
    for gap in gaps:
        page, size = _cut(pages[gap.window] if gap.window else _LATER, room)
        room -= size
        described.append(
            ChatGap(
                chat_id=gap.chat_id,
                messages=page.messages,
                has_more=page.has_more,
                archived_before=page.archived_before,
            )
        )
    return described


def _cut(page: Page, room: int) -> tuple[Page, int]:
    """Return as much of the page as there is room for, and its bytes. The first message always fits."""
    count, size = fitting(page.messages, room)
    if count == len(page.messages):
        return page, size
    return (Page(page.messages[:count], True, page.archived_before) if count else _LATER), size


def _read_gaps(
    conn: Connection,
    requests: Sequence[Request[Sync]],
    cursors: Sequence[_Cursors],
    context: HandlerContext,
) -> dict[int, list[_Gap]]:
    """Return the gaps of each request, by its index, as far as they fit into its answer."""
    known = [(index, id, seq) for index, given in enumerate(cursors) for id, seq in given.items()]
    asked = [index for index, request in enumerate(requests) if not request.command.only]
    rows = conn.execute(
        _GAPS,
        {
            "askers": array(index for index, _, _ in known),
            "chats": array(chat_id for _, chat_id, _ in known),
            "seqs": array(seq for _, _, seq in known),
            "requests": array(asked),
            "users": array(requests[index].user_id for index in asked),
            "listed": _CHATS + 1,
        },
    )
    gaps: dict[int, list[_Gap]] = defaultdict(list)
    left: dict[int, int] = defaultdict(lambda: _MESSAGES)
    for row in rows:
        start = row.seq if row.first_seq is None else row.first_seq - 1
        stored = 0 if row.first_seq is None else row.last_seq - start
        size = min(stored, context.page_max, left[row.request])
        left[row.request] -= size
        fits = row.place <= _CHATS and (size or not stored)
        gaps[row.request].append(
            _Gap(row.id, Window.after(row.id, row.last_seq, start, size) if fits else None)
        )
    return gaps
