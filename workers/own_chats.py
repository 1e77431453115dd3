"""Changes what a chat is like for one of its members: box, block, mute. Tells whoever is to notice."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec
from sqlalchemy import Connection, Row, text

from infra.store.boxes import Box
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import CHAT_CHANGED, MESSAGE_STATUS, USER_STATUS, MessageStatus, UserStatus, iso_ms
from workers.arrays import array
from workers.chats import Pair, read_chats
from workers.context import HandlerContext
from workers.locking import LockingStatement
from workers.members import Member, read_members, to_own
from workers.outcome import Outcome
from workers.requests import HANDLED, Request
from workers.unread import tell_unread

_LOCK = LockingStatement(
    """
    SELECT id, user_lo, user_hi, lo_box, hi_box, lo_blocked_at, hi_blocked_at, handled::text[] FROM chats
    WHERE id = ANY(CAST(:chats AS uuid[]))
    ORDER BY id
    FOR NO KEY UPDATE {skip_locked}
    """
)
_WRITE = text(
    f"""
    WITH changed AS MATERIALIZED (
        SELECT *
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:lo_boxes AS smallint[]), CAST(:hi_boxes AS smallint[]),
            CAST(:lo_blocks AS bool[]), CAST(:hi_blocks AS bool[]),
            CAST(:lo_changes AS bool[]), CAST(:hi_changes AS bool[]), CAST(:handled AS text[])
        ) AS changed (chat_id, lo_box, hi_box, lo_blocks, hi_blocks, lo_changes, hi_changes, handled)
    ), written AS (
        UPDATE chats c
        SET lo_box = changed.lo_box, hi_box = changed.hi_box,
            lo_blocked_at = CASE WHEN changed.lo_blocks THEN coalesce(c.lo_blocked_at, now()) END,
            hi_blocked_at = CASE WHEN changed.hi_blocks THEN coalesce(c.hi_blocked_at, now()) END,
            lo_changed_at = CASE WHEN changed.lo_changes THEN now() ELSE c.lo_changed_at END,
            hi_changed_at = CASE WHEN changed.hi_changes THEN now() ELSE c.hi_changed_at END,
            handled = CAST(changed.handled AS uuid[])
        FROM changed
        WHERE c.id = changed.chat_id
    )
    UPDATE chat_members w
    SET shown_delivered_seq = CASE
            WHEN side.box NOT BETWEEN {Box.INBOX} AND {Box.ARCHIVED} THEN 0
            WHEN side.is_blocked THEN
                coalesce(w.shown_delivered_seq, greatest(w.delivered_seq, w.read_seq))
        END,
        shown_read_seq = CASE
            WHEN side.box NOT BETWEEN {Box.INBOX} AND {Box.ARCHIVED} THEN 0
            WHEN side.is_blocked THEN coalesce(w.shown_read_seq, w.read_seq)
        END
    FROM (
        SELECT c.id, sides.user_id, sides.box, changed.lo_blocks OR changed.hi_blocks AS is_blocked
        FROM changed
        JOIN chats c ON c.id = changed.chat_id
        CROSS JOIN LATERAL (
            VALUES (c.user_lo, changed.lo_box), (c.user_hi, changed.hi_box)
        ) AS sides (user_id, box)
    ) side
    WHERE w.chat_id = side.id AND w.user_id = side.user_id
        AND (side.box IN ({Box.REQUESTS}, {Box.DECLINED}) OR side.is_blocked OR w.shown_read_seq IS NOT NULL)
    """
)
"""Touches members only where others see less of them, or have seen less: mutes and pins wait for nobody."""
_MUTE = text(
    """
    UPDATE chat_members w SET muted_until = muted.until
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[]), CAST(:until AS timestamptz[]))
        AS muted (chat_id, user_id, until)
    WHERE w.chat_id = muted.chat_id AND w.user_id = muted.user_id
    """
)


@dataclass(slots=True)
class Sides:
    """A locked chat, as a request finds it and leaves it."""

    id: str
    pair: Pair
    boxes: dict[str, Box]
    """By user."""
    blocks: dict[str, bool]
    """By user, whether they have blocked the other one."""
    handled: list[str]
    """The last requests about it."""
    mutes: dict[str, datetime | None] = field(default_factory=dict)
    """By user, until when they hear of no message, as far as it changes."""
    changed_for: set[str] = field(default_factory=set)
    """The users for whom the chat is different now."""
    is_handled: bool = False
    """Whether a request was handled now."""

    def handle(self, request_id: str) -> None:
        """Remember a request that was handled."""
        self.handled = [*self.handled, request_id][-HANDLED:]
        self.is_handled = True

    def move(self, user_id: str, box: Box) -> None:
        """Put the chat into another box of a user."""
        if self.boxes[user_id] != box:
            self.boxes[user_id] = box
            self.changed_for.add(user_id)

    def block(self, user_id: str, *, on: bool) -> None:
        """Have a user block the other one, or not."""
        if self.blocks[user_id] != on:
            self.blocks[user_id] = on
            self.changed_for.add(user_id)

    def mute(self, user_id: str, until: datetime | None) -> None:
        """Let a user hear of no message until a time."""
        self.mutes[user_id] = until
        self.changed_for.add(user_id)


CommandT = TypeVar("CommandT")
Members = Mapping[Member, Row[Any]]


def change_chats(
    conn: Connection,
    asked: Sequence[tuple[Request[CommandT], str]],
    context: HandlerContext,
    outcome: Outcome,
    change: Callable[[Sides, Request[CommandT]], None],
    answer: Callable[[Sides, Request[CommandT], Members], msgspec.Struct],
) -> None:
    """Have `change` change the chat, given by its id, of each request, and answer with what it is now.

    `change` may raise Rejection, before it changes anything. The devices of who asks are told, even of a
    retry, and the other member of what they can see now, or no longer. A request that comes again, after
    later ones perhaps, changes nothing.
    """
    ids = {chat_id for _, chat_id in asked}
    if not ids:
        return
    locked = {
        row.id: Sides(
            row.id,
            Pair(row.user_lo, row.user_hi),
            {row.user_lo: Box(row.lo_box), row.user_hi: Box(row.hi_box)},
            {row.user_lo: row.lo_blocked_at is not None, row.user_hi: row.hi_blocked_at is not None},
            row.handled or [],
        )
        for row in conn.execute(_LOCK.for_(context), {"chats": array(ids)})
    }
    before = read_members(conn, locked)
    done = []
    for request, chat_id in asked:
        with outcome.rejections(request):
            if chat_id not in locked:
                raise Rejection(ErrorCode.UNAVAILABLE)
            sides = locked[chat_id]
            if request.id not in sides.handled:
                change(sides, request)
                sides.handle(request.id)
            done.append((request, sides))
    _write(conn, locked.values())
    after = read_members(conn, locked)
    for request, sides in done:
        outcome.succeed(request, answer(sides, request, after))
        outcome.emit(request.user_id, CHAT_CHANGED, to_own(after[sides.id, request.user_id]))
    _tell_peers(before, after, locked, context, outcome)
    tell_unread(conn, {user_id for sides in locked.values() for user_id in sides.changed_for}, outcome)


def tell_moved(conn: Connection, moved: Collection[Member], outcome: Outcome) -> None:
    """Tell users that messages have moved a chat to another box, and the other one what they can see now."""
    if not moved:
        return
    chat_ids = {chat_id for chat_id, _ in moved}
    chats = read_chats(conn, chat_ids)
    members = read_members(conn, chat_ids)
    # Of a request as well: what the app has said in the chat before does not count any more.
    tell_unread(conn, {user_id for _, user_id in moved}, outcome)
    for chat_id, user_id in sorted(moved):
        own = members[chat_id, user_id]
        outcome.emit(user_id, CHAT_CHANGED, to_own(own))
        if Box(own.box).is_open:
            _tell_receipts(outcome, own, chats[chat_id].peer_of(user_id), delivered=0, read=0)


def _write(conn: Connection, chats: Collection[Sides]) -> None:
    changed = [sides for sides in chats if sides.is_handled]
    if not changed:
        return
    mutes = {(sides.id, user_id): until for sides in changed for user_id, until in sides.mutes.items()}
    conn.execute(
        _WRITE,
        {
            "chats": array(sides.id for sides in changed),
            "lo_boxes": array(int(sides.boxes[sides.pair.lo]) for sides in changed),
            "hi_boxes": array(int(sides.boxes[sides.pair.hi]) for sides in changed),
            "lo_blocks": [sides.blocks[sides.pair.lo] for sides in changed],
            "hi_blocks": [sides.blocks[sides.pair.hi] for sides in changed],
            "lo_changes": [sides.pair.lo in sides.changed_for for sides in changed],
            "hi_changes": [sides.pair.hi in sides.changed_for for sides in changed],
            "handled": [array(sides.handled) for sides in changed],
        },
    )
    if mutes:
        conn.execute(
            _MUTE,
            {
                "chats": array(chat_id for chat_id, _ in mutes),
                "users": array(user_id for _, user_id in mutes),
                "until": list(mutes.values()),
            },
        )


def _tell_peers(
    before: Members,
    after: Members,
    chats: Mapping[str, Sides],
    context: HandlerContext,
    outcome: Outcome,
) -> None:
    """Tell the other members what has appeared: receipts; and what has appeared or gone: presence."""
    seen = [member for member, row in after.items() if row.shows_presence != before[member].shows_presence]
    online = context.presence.online({user_id for _, user_id in seen})
    for member, row in after.items():
        was = before[member]
        peer_id = chats[row.chat_id].pair.peer_of(row.user_id)
        _tell_receipts(outcome, row, peer_id, delivered=was.shown_delivered_seq, read=was.shown_read_seq)
        if member in seen and peer_id != row.user_id and after[row.chat_id, peer_id].joined_at is not None:
            last_seen = row.last_seen_at if row.shows_presence else None
            status = UserStatus(
                user_id=row.user_id,
                username=row.username,
                status="online" if row.shows_presence and row.user_id in online else "offline",
                last_seen=iso_ms(last_seen) if last_seen else None,
            )
            outcome.emit(peer_id, USER_STATUS, status)


def _tell_receipts(outcome: Outcome, member: Row[Any], peer_id: str, *, delivered: int, read: int) -> None:
    """Tell the other member how far this one is, if they have not known."""
    if member.shown_delivered_seq > delivered:
        _tell_status(outcome, member, peer_id, "delivered", member.shown_delivered_seq)
    if member.shown_read_seq > read:
        _tell_status(outcome, member, peer_id, "read", member.shown_read_seq)


def _tell_status(
    outcome: Outcome, member: Row[Any], peer_id: str, status: Literal["delivered", "read"], up_to: int
) -> None:
    at = iso_ms(datetime.now(UTC))
    told = MessageStatus(chat_id=member.chat_id, user_id=member.user_id, status=status, up_to=up_to, at=at)
    outcome.emit(peer_id, MESSAGE_STATUS, told)
