"""`list_chats`: the user's chats, newest activity first, in pages."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, TextClause, text

from infra.store.boxes import Box
from infra.wire.commands import Box as BoxName
from infra.wire.commands import ListChats
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import ChatsAck, ChatSummary, Message, iso_ms
from workers.arrays import array
from workers.chats import Pair
from workers.context import HandlerContext
from workers.members import Member, delivered_up_to, own_fields, read_members, read_unread, to_peer
from workers.messages import read_messages
from workers.outcome import Outcome
from workers.pages import fitting
from workers.requests import Request

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IN_PLACE = """
    (
        SELECT id, user_lo, user_hi, last_seq, change, activity_at FROM chats
        WHERE {condition} AND NOT is_behind
            AND (listed_at, id) < (wanted.before_time, wanted.before_chat) AND listed_at >= wanted.since
        ORDER BY listed_at DESC, id DESC
        LIMIT {{most}}
    )
"""
"""A number in the text: of a parameter, the planner expects a tenth of all chats, which it would sort."""
_BEHIND = """
    (
        SELECT id, user_lo, user_hi, last_seq, change, activity_at
        FROM (
            SELECT * FROM chats WHERE {condition} AND is_behind ORDER BY listed_at, id LIMIT 2000000000
        ) behind
        WHERE (activity_at, id) < (wanted.before_time, wanted.before_chat) AND activity_at >= wanted.since
    )
"""
"""In the order of the index, so that the planner takes this one and not that of pairs."""
_CHANGED = """
    (
        SELECT id, user_lo, user_hi, last_seq, change, activity_at
        FROM (
            SELECT *, {side}_box AS box FROM chats
            WHERE wanted.since > '-infinity' AND {user} AND {side}_changed_at >= wanted.since
            ORDER BY {side}_changed_at LIMIT 2000000000
        ) changed
        WHERE box = wanted.box AND activity_at < wanted.since
            AND (activity_at, id) < (wanted.before_time, wanted.before_chat)
    )
"""
"""Chats without a new message that are different since: changed messages, or where the user has them."""
_PARTS = "UNION ALL".join(
    part.format(user=user, condition=f"{user} AND {side}_box = wanted.box", side=side)
    for side, user in (
        ("lo", "user_lo = wanted.user_id"),
        ("hi", "user_hi = wanted.user_id AND user_lo < user_hi"),
    )
    for part in (_IN_PLACE, _BEHIND, _CHANGED)
)
_PAGE = f"""
    SELECT wanted.request, wanted.rank, c.*
    FROM (
        SELECT request, user_id, box, rank, before_time, before_chat, size,
            coalesce(since - make_interval(secs => :uncommitted), '-infinity') AS since
        FROM unnest(
            CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:boxes AS smallint[]),
            CAST(:ranks AS int[]), CAST(:sinces AS timestamptz[]), CAST(:times AS timestamptz[]),
            CAST(:chats AS uuid[]), CAST(:limits AS int[])
        ) AS asked (request, user_id, box, rank, since, before_time, before_chat, size)
    ) wanted
    CROSS JOIN LATERAL ({_PARTS} ORDER BY activity_at DESC, id DESC LIMIT wanted.size) c
    ORDER BY wanted.request, wanted.rank DESC, c.activity_at DESC, c.id DESC
"""
"""Reads a page of each box from each index, which has it in order, and from the few chats that are behind."""
_RANKS: Final[Mapping[BoxName | None, Mapping[Box, int]]] = {
    None: dict.fromkeys((Box.UNDECIDED, Box.INBOX, Box.PINNED, Box.ARCHIVED), 0),
    "inbox": {Box.PINNED: 1, Box.UNDECIDED: 0, Box.INBOX: 0},
    "archived": {Box.ARCHIVED: 0},
    "requests": {Box.REQUESTS: 0},
    "declined": {Box.DECLINED: 0},
}
"""What clients list, as the boxes of the store. Those with the highest rank come first."""
_NOW = text("SELECT now()")

_UNCOMMITTED_S: Final = 600
"""Longer than any message takes to be committed.

The time of a message is that at which its transaction began. Clients that list their chats before the commit
do not see it; it must be among what has changed since then.
"""


class _Cursor(NamedTuple):
    activity_us: int | None
    chat_id: str | None
    rank: int = 0

    @property
    def time(self) -> str:
        if self.activity_us is None:
            return "infinity"
        return (_EPOCH + timedelta(microseconds=self.activity_us)).isoformat()


_START: Final = _Cursor(None, None)


@dataclass(frozen=True, slots=True)
class _Details:
    """What chat summaries need besides the chats."""

    members: Mapping[Member, Row[Any]]
    newest: Mapping[tuple[str, int], Message]
    """By chat and seq."""
    unread: Mapping[Member, int]
    online: frozenset[str]

    def has(self, row: Row[Any], user_id: str) -> bool:
        """Return whether the chat still existed when the details were read."""
        return all((row.id, member) in self.members for member in (row.user_lo, row.user_hi)) and (
            (row.id, user_id) in self.unread
        )

    def is_deleted(self, rows: Sequence[Row[Any]], user_id: str) -> bool:
        """Return whether the user whose chats these are is deleted. They stay a member."""
        own = (self.members.get((row.id, user_id)) for row in rows)
        return any(member.deleted_at is not None for member in own if member)


def list_chats(conn: Connection, requests: Sequence[Request[ListChats]], context: HandlerContext) -> Outcome:
    """Answer each request with peer, last message and unread count of each chat."""
    outcome = Outcome()
    asked: list[tuple[Request[ListChats], _Cursor]] = []
    for request in requests:
        with outcome.rejections(request):
            asked.append((request, _decode(request.command.cursor)))
    if not asked:
        return outcome
    sizes = [context.page_size(request.command.limit) for request, _ in asked]
    since = _read_time(conn, [request for request, _ in asked])
    pages = _read_pages(conn, asked, sizes)
    details = _read_details(conn, [request for request, _ in asked], pages, context)
    for index, ((request, _), size) in enumerate(zip(asked, sizes, strict=True)):
        rows = pages[index]
        if details.is_deleted(rows, request.user_id):  # an API key outlives the tokens of a user
            outcome.reject(request, Rejection(ErrorCode.PROFILE_MISSING))
            continue
        listed = [row for row in rows[:size] if details.has(row, request.user_id)]
        chats = [_summary(row, request.user_id, details) for row in listed]
        count, _ = fitting(chats)
        is_cut = count < len(chats)
        last = listed[count - 1] if is_cut else rows[size - 1] if len(rows) > size else None
        asks_since = request.command.since is not msgspec.UNSET
        ack = ChatsAck(
            chats=chats[:count],
            next_cursor=_encode(last) if last else None,
            since=since if asks_since else msgspec.UNSET,
        )
        outcome.succeed(request, ack)
    return outcome


def _read_time(conn: Connection, requests: Sequence[Request[ListChats]]) -> str | msgspec.UnsetType:
    """Return the time before the chats are read, if somebody asks for it."""
    if all(request.command.since is msgspec.UNSET for request in requests):
        return msgspec.UNSET
    return iso_ms(conn.execute(_NOW).scalar_one())


def _read_pages(
    conn: Connection, asked: Sequence[tuple[Request[ListChats], _Cursor]], sizes: Sequence[int]
) -> Mapping[int, list[Row[Any]]]:
    """Return the chats of each page, by the index of its request, plus one chat if there are more."""
    wanted = [
        (index, box, rank, cursor if cursor.chat_id and rank == cursor.rank else _START)
        for index, (request, cursor) in enumerate(asked)
        for box, rank in _RANKS[request.command.box].items()
        if cursor.chat_id is None or rank <= cursor.rank
    ]
    rows = conn.execute(
        _page_of(max(sizes) + 1),
        {
            "requests": array(index for index, _, _, _ in wanted),
            "users": array(asked[index][0].user_id for index, _, _, _ in wanted),
            "boxes": array(int(box) for _, box, _, _ in wanted),
            "ranks": array(rank for _, _, rank, _ in wanted),
            "sinces": [asked[index][0].command.since or None for index, _, _, _ in wanted],
            "uncommitted": _UNCOMMITTED_S,
            "times": array(cursor.time for _, _, _, cursor in wanted),
            "chats": [cursor.chat_id for _, _, _, cursor in wanted],
            "limits": array(sizes[index] + 1 for index, _, _, _ in wanted),
        },
    )
    pages: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        if len(pages[row.request]) <= sizes[row.request]:
            pages[row.request].append(row)
    return pages


@cache
def _page_of(most: int) -> TextClause:
    """Return the statement for pages of at most so many chats."""
    return text(_PAGE.format(most=most))


def _read_details(
    conn: Connection,
    requests: Sequence[Request[ListChats]],
    pages: Mapping[int, list[Row[Any]]],
    context: HandlerContext,
) -> _Details:
    rows = [row for page in pages.values() for row in page]
    return _Details(
        members=read_members(conn, {row.id for row in rows}),
        newest=read_messages(conn, {(row.id, row.last_seq) for row in rows if row.last_seq}),
        unread=read_unread(conn, {(row.id, requests[row.request].user_id) for row in rows}),
        online=context.presence.online({user_id for row in rows for user_id in (row.user_lo, row.user_hi)}),
    )


def _summary(row: Row[Any], user_id: str, details: _Details) -> ChatSummary:
    own = details.members[row.id, user_id]
    peer_id = Pair(row.user_lo, row.user_hi).peer_of(user_id)
    return ChatSummary(
        chat_id=row.id,
        peer=to_peer(details.members[row.id, peer_id], details.online),
        last_message=details.newest.get((row.id, row.last_seq)) if row.last_seq > own.cleared_seq else None,
        unread=details.unread[row.id, user_id],
        read_up_to=own.read_seq,
        delivered_up_to=delivered_up_to(own),
        last_seq=row.last_seq,
        change=row.change,
        **own_fields(own),
    )


def _encode(row: Row[Any]) -> str:
    """Render a position in the list as an opaque string."""
    activity_us = (row.activity_at - _EPOCH) // timedelta(microseconds=1)
    rank = (row.rank,) if row.rank else ()
    return urlsafe_b64encode(msgspec.json.encode((activity_us, row.id, *rank))).decode()


def _decode(cursor: str | None) -> _Cursor:
    if cursor is None:
        return _START
    try:
        position = msgspec.json.decode(urlsafe_b64decode(cursor), type=_Cursor)
        _ = position.time
        if position.chat_id is not None:
            position = position._replace(chat_id=str(UUID(position.chat_id)))
    except (ValueError, OverflowError) as error:
        unknown = "The cursor is not one that list_chats returned."
        raise Rejection(ErrorCode.INVALID_PAYLOAD, unknown) from error
    return position
