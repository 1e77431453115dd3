"""`block_user`, `unblock_user`, `list_blocked`: users who neither write to nor hear of each other."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from infra.wire.commands import BlockUser, ListBlocked, UnblockUser
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import BlockAck, BlockedAck, BlockedUser, iso_ms
from workers.arrays import array
from workers.chats import Pair, People, open_chats, people_of
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.own_chats import Members, Sides, change_chats
from workers.pages import fitting
from workers.profile_fields import profile_fields
from workers.requests import Request
from workers.time_cursor import TimeCursor, encode

_LIST = text(
    """
    SELECT wanted.request, blocked.chat_id, blocked.user_id, blocked.at,
        p.username, p.display_name, p.avatar_url, p.data, p.deleted_at
    FROM unnest(
        CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:times AS timestamptz[]),
        CAST(:chats AS uuid[]), CAST(:limits AS int[])
    ) AS wanted (request, user_id, before_time, before_chat, size)
    CROSS JOIN LATERAL (
        (
            SELECT id AS chat_id, user_hi AS user_id, lo_blocked_at AS at FROM chats
            WHERE user_lo = wanted.user_id AND lo_blocked_at IS NOT NULL
                AND (lo_blocked_at, id) < (wanted.before_time, wanted.before_chat)
            ORDER BY lo_blocked_at DESC, id DESC LIMIT wanted.size
        )
        UNION ALL
        (
            SELECT id, user_lo, hi_blocked_at FROM chats
            WHERE user_hi = wanted.user_id AND hi_blocked_at IS NOT NULL
                AND (hi_blocked_at, id) < (wanted.before_time, wanted.before_chat)
            ORDER BY hi_blocked_at DESC, id DESC LIMIT wanted.size
        )
        ORDER BY at DESC, chat_id DESC LIMIT wanted.size
    ) blocked
    JOIN profiles p ON p.id = blocked.user_id
    ORDER BY wanted.request, blocked.at DESC, blocked.chat_id DESC
    """
)


def set_blocks(
    conn: Connection, requests: Sequence[Request[BlockUser | UnblockUser]], context: HandlerContext
) -> Outcome:
    """Block users, and unblock others. If there is no chat yet, one is made that nobody is shown."""
    outcome = Outcome()
    people = people_of(conn, requests)
    named: list[tuple[Request[Any], Pair]] = []
    for request in requests:
        with outcome.rejections(request):
            people.require(request.user_id)
            pair = Pair.of(request.user_id, _named(request, people))
            if pair.lo == pair.hi:
                raise Rejection(ErrorCode.NOT_ALLOWED, "You cannot block yourself.")
            named.append((request, pair))
    chats = open_chats(conn, {pair for _, pair in named}, context, is_listed=False)
    asked: list[tuple[Request[Any], str]] = []
    for request, pair in named:
        with outcome.rejections(request):
            if pair not in chats:
                raise Rejection(ErrorCode.USER_NOT_FOUND)
            asked.append((request, chats[pair].id))

    def set_block(sides: Sides, request: Request[Any]) -> None:
        sides.block(request.user_id, on=isinstance(request.command, BlockUser))

    def answer(sides: Sides, request: Request[Any], members: Members) -> BlockAck:
        peer = members[sides.id, sides.pair.peer_of(request.user_id)]
        return BlockAck(
            chat_id=sides.id,
            user_id=peer.user_id,
            username=peer.username,
            blocked=sides.blocks[request.user_id],
        )

    change_chats(conn, asked, context, outcome, set_block, answer)
    return outcome


def _named(request: Request[BlockUser | UnblockUser], people: People) -> str:
    """Return whom a request names. A deleted user, of whom only the id is left, can be unblocked."""
    command = request.command
    if isinstance(command, UnblockUser) and command.user_id is not None:
        return str(command.user_id)
    return people.named(command)


def list_blocked(
    conn: Connection, requests: Sequence[Request[ListBlocked]], context: HandlerContext
) -> Outcome:
    """Answer each request with a page of those whom the user has blocked."""
    outcome = Outcome()
    asked: list[tuple[Request[ListBlocked], TimeCursor, int]] = []
    for request in requests:
        with outcome.rejections(request):
            size = context.page_size(request.command.limit)
            asked.append((request, TimeCursor.decode(request.command.cursor, "list_blocked"), size))
    rows = conn.execute(
        _LIST,
        {
            "requests": array(range(len(asked))),
            "users": array(request.user_id for request, _, _ in asked),
            "times": array(cursor.time for _, cursor, _ in asked),
            "chats": [cursor.id for _, cursor, _ in asked],
            "limits": array(size + 1 for _, _, size in asked),
        },
    )
    pages: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        pages[row.request].append(row)
    for index, (request, _, size) in enumerate(asked):
        page = pages[index]
        users = [
            BlockedUser(
                chat_id=row.chat_id,
                user_id=row.user_id,
                username=row.username,
                blocked_at=iso_ms(row.at),
                **profile_fields(row),
            )
            for row in page[:size]
        ]
        count, _ = fitting(users)
        last = page[count - 1] if count < len(page) else None
        next_cursor = encode(last.at, last.chat_id) if last else None
        outcome.succeed(request, BlockedAck(users=users[:count], next_cursor=next_cursor))
    return outcome
