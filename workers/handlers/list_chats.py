"""`list_chats`: the user's chats, newest activity first, in pages."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, text

from infra.wire.commands import ListChats
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import ChatsAck, ChatSummary
from workers.arrays import array
from workers.context import HandlerContext
from workers.members import delivered_up_to, read_members, read_unread, to_peer
from workers.messages import read_messages
from workers.outcome import Outcome
from workers.requests import Request

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE = text(
    """
    SELECT wanted.request, c.id, c.user_lo, c.user_hi, c.last_seq, c.activity_at
    FROM unnest(
        CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:times AS timestamptz[]),
        CAST(:chats AS uuid[]), CAST(:limits AS int[])
    ) AS wanted (request, user_id, before_time, before_chat, size)
    CROSS JOIN LATERAL (
        SELECT c.* FROM chat_members w JOIN chats c ON c.id = w.chat_id
        WHERE w.user_id = wanted.user_id AND (
            wanted.before_chat IS NULL
            OR (c.activity_at, c.id) < (wanted.before_time, wanted.before_chat)
        )
        ORDER BY c.activity_at DESC, c.id DESC
        LIMIT wanted.size
    ) c
    ORDER BY wanted.request, c.activity_at DESC, c.id DESC
    """
)


class _Cursor(NamedTuple):
    activity_us: int | None
    chat_id: str | None

    @property
    def time(self) -> datetime | None:
        return None if self.activity_us is None else _EPOCH + timedelta(microseconds=self.activity_us)


def list_chats(conn: Connection, requests: Sequence[Request[ListChats]], context: HandlerContext) -> Outcome:
    """Answer each request with peer, last message and unread count of each chat."""
    outcome = Outcome()
    cursors: dict[str, _Cursor] = {}
    for request in requests:
        with outcome.rejections(request):
            cursors[request.id] = _decode(request.command.cursor)
    asked = [request for request in requests if request.id in cursors]
    if asked:
        _answer(conn, asked, cursors, context, outcome)
    return outcome


def _answer(
    conn: Connection,
    asked: Sequence[Request[ListChats]],
    cursors: dict[str, _Cursor],
    context: HandlerContext,
    outcome: Outcome,
) -> None:
    sizes = [context.page_size(request.command.limit) for request in asked]
    rows = conn.execute(
        _PAGE,
        {
            "requests": array(range(len(asked))),
            "users": array(request.user_id for request in asked),
            "times": [cursors[request.id].time for request in asked],
            "chats": [cursors[request.id].chat_id for request in asked],
            "limits": array(size + 1 for size in sizes),
        },
    ).all()
    members = read_members(conn, {row.id for row in rows})
    newest = read_messages(conn, {(row.id, row.last_seq) for row in rows if row.last_seq})
    unread = read_unread(conn, sorted({(row.id, asked[row.request].user_id) for row in rows}))
    online = context.presence.online({user_id for row in rows for user_id in (row.user_lo, row.user_hi)})
    pages: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        pages[row.request].append(row)
    for index, (request, size) in enumerate(zip(asked, sizes, strict=True)):
        mine = pages[index]
        chats = []
        for row in mine[:size]:
            own = members[row.id, request.user_id]
            peer_id = row.user_hi if request.user_id == row.user_lo else row.user_lo
            chats.append(
                ChatSummary(
                    chat_id=row.id,
                    peer=to_peer(members[row.id, peer_id], online),
                    last_message=newest.get((row.id, row.last_seq)),
                    unread=unread[row.id, request.user_id],
                    read_up_to=own.read_seq,
                    delivered_up_to=delivered_up_to(own),
                )
            )
        next_cursor = _encode(mine[size - 1]) if len(mine) > size else None
        outcome.succeed(request, ChatsAck(chats=chats, next_cursor=next_cursor))


def _encode(row: Row[Any]) -> str:
    """Render a position in the list as an opaque string."""
    activity_us = (row.activity_at - _EPOCH) // timedelta(microseconds=1)
    return urlsafe_b64encode(msgspec.json.encode((activity_us, row.id))).decode()


def _decode(cursor: str | None) -> _Cursor:
    if cursor is None:
        return _Cursor(None, None)
    try:
        position = msgspec.json.decode(urlsafe_b64decode(cursor), type=_Cursor)
        _ = position.time
    except (ValueError, OverflowError) as error:
        raise Rejection(
            ErrorCode.INVALID_PAYLOAD, "The cursor is not one that list_chats returned."
        ) from error
    return position
