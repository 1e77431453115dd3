"""`sync`: exactly what a client is missing, for every chat with something newer than the client's cursor."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, text

from infra.wire.commands import Cursor, Sync
from infra.wire.events import ChatGap, Message, SyncAck
from workers.arrays import array
from workers.chats import read_chats
from workers.context import HandlerContext
from workers.messages import COLUMNS, JOINS, to_message
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
        SELECT *
        FROM unnest(
            CAST(:askers AS int[]), CAST(:members AS uuid[]), CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]),
            CAST(:changes AS bigint[]), CAST(:cleared AS bigint[])
        ) AS known (request, user_id, chat_id, seq, change, cleared_seq)
    ), wanted AS (
        SELECT known.*, w.cleared_seq AS start_seq
        FROM known
        CROSS JOIN LATERAL (
            SELECT cleared_seq FROM chat_members
            WHERE chat_id = known.chat_id AND user_id = known.user_id LIMIT 1
        ) w
        UNION ALL
        SELECT asked.request, asked.user_id, w.chat_id, 0, NULL, NULL, w.cleared_seq
        FROM unnest(CAST(:requests AS int[]), CAST(:users AS uuid[])) AS asked (request, user_id)
        JOIN chat_members w ON w.user_id = asked.user_id
        WHERE NOT EXISTS (
            SELECT FROM known WHERE known.request = asked.request AND known.chat_id = w.chat_id
        )
    ), gaps AS (
        SELECT
            wanted.request, c.id, c.last_seq, greatest(wanted.seq, wanted.start_seq) AS seq,
            stored.seq AS first_seq, wanted.start_seq AS cleared_seq,
            c.change, wanted.change AS known_change,
            row_number() OVER (PARTITION BY wanted.request ORDER BY c.activity_at DESC, c.id) AS place
        FROM wanted
        JOIN chats c ON c.id = wanted.chat_id AND (
            c.last_seq > wanted.seq OR c.change > wanted.change OR wanted.start_seq > wanted.cleared_seq
        )
        LEFT JOIN LATERAL (
            SELECT m.seq FROM messages m
            WHERE m.chat_id = c.id AND m.seq > greatest(wanted.seq, wanted.start_seq)
            ORDER BY m.seq LIMIT 1
        ) stored ON true
        WHERE stored.seq IS NOT NULL
            OR c.change > wanted.change
            OR wanted.start_seq > wanted.cleared_seq
            OR c.last_seq > greatest(wanted.seq, wanted.start_seq) AND EXISTS (
                SELECT FROM archived_chats a WHERE a.chat_id = c.id AND a.seqs @> c.last_seq
            )
    )
    SELECT * FROM gaps WHERE place <= :listed ORDER BY request, place
    """
)
"""`known` are the cursors of all requests, `asked` the requests for chats without a cursor as well.

`first_seq` is where the stored part of a gap begins: messages that are not stored take no room. Gaps in which
all messages were deleted because of their age are left out. A cursor that is a seq knows of no change.
"""

_CHANGES = text(
    f"""
    SELECT wanted.request, {COLUMNS}
    FROM unnest(
        CAST(:requests AS int[]), CAST(:chats AS uuid[]), CAST(:changes AS bigint[]),
        CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]), CAST(:most AS int[])
    ) AS wanted (request, chat_id, change, first_seq, last_seq, most)
    CROSS JOIN LATERAL (
        SELECT chat_id, seq FROM changed_messages
        WHERE chat_id = wanted.chat_id AND change > wanted.change
            AND seq BETWEEN wanted.first_seq AND wanted.last_seq
        ORDER BY change LIMIT wanted.most
    ) changed
    JOIN messages m ON m.chat_id = changed.chat_id AND m.seq = changed.seq
    {JOINS}
    ORDER BY wanted.request, m.chat_id, m.change
    """
)

_LATER = Page(messages=[], has_more=True, archived_before=msgspec.UNSET)
"""For a gap that does not fit into the answer."""
_NOTHING_NEW = Page(messages=[], has_more=False, archived_before=msgspec.UNSET)


@dataclass(frozen=True, slots=True)
class _Gap:
    chat_id: str
    seq: int
    """The last seq that the client has, or that is cleared."""
    window: Window | None
    """None when the answer has no room for it, or there are only changes."""
    has_more: bool
    """Without a window: whether there are messages."""
    change: int
    known_change: int | None
    cleared_seq: int

    @property
    def missing_changes(self) -> int:
        """How many changes the client may not know."""
        return 0 if self.known_change is None else max(0, self.change - self.known_change)


_Cursors = Mapping[str, Cursor | int]
"""How far a client is, by chat."""
_Changes = Mapping[tuple[int, str], list[Message]]
"""The changes that a request asks for, by its index and the chat, in their order. None are read beyond what
an answer holds."""


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
    changes = _read_changes(conn, gaps)
    for index, request in enumerate(requests):
        gone = [id for id in given[index] if id not in own[index]]
        described = _describe(index, gaps[index], pages, changes)
        outcome.succeed(request, SyncAck(chats=described, gone=gone or msgspec.UNSET))
    return outcome


def _describe(
    index: int, gaps: Sequence[_Gap], pages: Mapping[Window, Page], changes: _Changes
) -> list[ChatGap]:
    """Return what an answer says about each gap, with as many messages as it has room for."""
    described = []
    room = ANSWER_BYTES
    left = _MESSAGES
    for gap in gaps:
        empty = _LATER if gap.has_more else _NOTHING_NEW
        page, size = _cut(pages[gap.window] if gap.window else empty, room)
        room -= size
        changed = changes.get((index, gap.chat_id))
        count, size = fitting((changed or [])[:left], room)
        room, left = room - size, left - count
        is_cut = gap.missing_changes > 0 if changed is None else count < len(changed)
        described.append(_gap(gap, page, (changed or [])[:count], has_more_changes=is_cut))
    return described


def _gap(gap: _Gap, page: Page, changes: list[Message], *, has_more_changes: bool) -> ChatGap:
    asks = gap.known_change is not None
    change = gap.change
    if has_more_changes:
        last = changes[-1].change if changes else gap.known_change
        assert isinstance(last, int)
        change = last
    return ChatGap(
        chat_id=gap.chat_id,
        messages=page.messages,
        has_more=page.has_more,
        change=change,
        archived_before=page.archived_before,
        changes=changes if asks else msgspec.UNSET,
        has_more_changes=has_more_changes if asks else msgspec.UNSET,
        cleared_up_to=gap.cleared_seq or msgspec.UNSET,
    )


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
    known = [(index, id, cursor) for index, given in enumerate(cursors) for id, cursor in given.items()]
    asked = [index for index, request in enumerate(requests) if not request.command.only]
    rows = conn.execute(
        _GAPS,
        {
            "askers": array(index for index, _, _ in known),
            "members": array(requests[index].user_id for index, _, _ in known),
            "chats": array(chat_id for _, chat_id, _ in known),
            "seqs": array(one.seq if isinstance(one, Cursor) else one for _, _, one in known),
            "changes": array(one.change if isinstance(one, Cursor) else None for _, _, one in known),
            "cleared": array(one.cleared_up_to if isinstance(one, Cursor) else None for _, _, one in known),
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
        has_more = row.last_seq > row.seq
        fits = has_more and row.place <= _CHATS and (size or not stored)
        window = Window.after(row.id, row.last_seq, start, size, cleared_seq=row.cleared_seq)
        gaps[row.request].append(
            _Gap(
                row.id,
                row.seq,
                window if fits else None,
                has_more,
                row.change,
                row.known_change,
                row.cleared_seq,
            )
        )
    return gaps


def _read_changes(conn: Connection, gaps: Mapping[int, Sequence[_Gap]]) -> _Changes:
    """Read the changes that the gaps ask for, each one more than fits if there are more."""
    asked = []
    for index, listed in gaps.items():
        left = _MESSAGES
        for gap in listed:
            if gap.missing_changes and left:
                most = min(gap.missing_changes, left)
                left -= most
                asked.append((index, gap, most))
    changes: dict[tuple[int, str], list[Message]] = {(index, gap.chat_id): [] for index, gap, _ in asked}
    if asked:
        params = {
            "requests": array(index for index, _, _ in asked),
            "chats": array(gap.chat_id for _, gap, _ in asked),
            "changes": array(gap.known_change or 0 for _, gap, _ in asked),
            "firsts": array(gap.cleared_seq + 1 for _, gap, _ in asked),
            "lasts": array(gap.seq for _, gap, _ in asked),
            "most": array(most + 1 for _, _, most in asked),
        }
        for row in conn.execute(_CHANGES, params):
            changes[row.request, row.chat_id].append(to_message(row))
    return changes
