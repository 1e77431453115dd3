"""The members of chats and their watermarks: reads, locks, and describes them to each other."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import msgspec
from sqlalchemy import Connection, Row, text

from infra.store.boxes import BOX, SHOWN_DELIVERED, SHOWN_READ, SHOWS_PRESENCE, Box
from infra.store.counting import count_messages
from infra.wire.commands import Box as BoxName
from infra.wire.events import MESSAGE_STATUS, ChatChanged, MessageStatus, Peer, iso_ms
from workers.arrays import array
from workers.chats import Chat, Pair
from workers.context import HandlerContext
from workers.locking import LockingStatement
from workers.outcome import Outcome
from workers.profile_fields import profile_fields

_MEMBERS = text(
    f"""
    SELECT
        w.chat_id, w.user_id, w.delivered_seq, w.read_seq, w.joined_at, w.cleared_seq, w.muted_until,
        p.username, p.display_name, p.avatar_url, p.data, p.last_seen_at, p.deleted_at,
        {BOX.format(chat="c", user="w.user_id")} AS box,
        CASE w.user_id WHEN c.user_lo THEN c.lo_blocked_at ELSE c.hi_blocked_at END AS blocked_at,
        {SHOWN_DELIVERED.format(member="w")} AS shown_delivered_seq,
        {SHOWN_READ.format(member="w", profile="p")} AS shown_read_seq,
        {SHOWS_PRESENCE.format(chat="c", user="w.user_id", profile="p")} AS shows_presence
    FROM chat_members w JOIN profiles p ON p.id = w.user_id JOIN chats c ON c.id = w.chat_id
    WHERE w.chat_id = ANY(CAST(:chats AS uuid[]))
    """
)
_LOCK = LockingStatement(
    """
    SELECT
        w.chat_id, w.user_id, w.delivered_seq, w.read_seq, w.cleared_seq, c.user_lo, c.user_hi, c.last_seq,
        w.shown_delivered_seq IS NULL AS tells_delivered,
        w.shown_read_seq IS NULL AND p.read_receipts AS tells_read
    FROM chat_members w
    JOIN unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS member (chat_id, user_id)
        ON w.chat_id = member.chat_id AND w.user_id = member.user_id
    JOIN chats c ON c.id = w.chat_id
    JOIN profiles p ON p.id = w.user_id
    ORDER BY w.chat_id, w.user_id
    FOR NO KEY UPDATE OF w {skip_locked}
    """
)

_UNREAD = text(
    f"""
    SELECT reader.chat_id, reader.user_id, unread.messages
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS reader (chat_id, user_id)
    JOIN chat_members w ON w.chat_id = reader.chat_id AND w.user_id = reader.user_id
    JOIN chats c ON c.id = w.chat_id
    CROSS JOIN {count_messages(chat="c", user="w.user_id", after="w.read_seq", up_to="c.last_seq")} unread
    """
)
_OWN = text(
    """
    SELECT asked.user_id, c.id, c.last_seq, c.change, w.cleared_seq, p.deleted_at IS NOT NULL AS is_deleted
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS asked (chat_id, user_id)
    JOIN chats c ON c.id = asked.chat_id
    LEFT JOIN chat_members w ON w.chat_id = c.id AND w.user_id = asked.user_id
    LEFT JOIN profiles p ON p.id = w.user_id
    """
)
_NAMES: Final[Mapping[int, BoxName]] = {
    Box.UNDECIDED: "inbox",
    Box.INBOX: "inbox",
    Box.PINNED: "inbox",
    Box.ARCHIVED: "archived",
    Box.REQUESTS: "requests",
    Box.DECLINED: "declined",
    Box.UNSEEN: "inbox",
}
"""How clients call the boxes."""
Member = tuple[str, str]
"""Ids of a chat and of one of its members."""


@dataclass(frozen=True, slots=True)
class OwnChat:
    """A chat as one user may read it."""

    id: str
    last_seq: int
    change: int
    cleared_seq: int | None
    """None if the user is no member."""
    is_deleted: bool
    """Whether the user is deleted, who stays a member."""


def read_members(conn: Connection, chat_ids: Collection[str]) -> dict[Member, Row[Any]]:
    """Return watermarks and names of all members of the chats, by chat and user."""
    rows = conn.execute(_MEMBERS, {"chats": array(set(chat_ids))})
    return {(row.chat_id, row.user_id): row for row in rows}


def read_own(conn: Connection, asked: Collection[Member]) -> dict[Member, OwnChat]:
    """Return the chats that exist, as each user who asks may read them."""
    rows = conn.execute(_OWN, member_columns(asked))
    return {(row.id, row.user_id): OwnChat(*row[1:]) for row in rows}


def read_unread(conn: Connection, members: Collection[Member]) -> dict[Member, int]:
    """Return how many messages each member has not read."""
    rows = conn.execute(_UNREAD, member_columns(members))
    return {(row.chat_id, row.user_id): row.messages for row in rows}


def lock_members(
    conn: Connection, members: Collection[Member], context: HandlerContext
) -> dict[Member, Row[Any]]:
    """Lock the members (chat and user) in the order of the key; return their watermarks and chats.

    Members that others have locked are left out unless handlers wait for them.
    """
    rows = conn.execute(_LOCK.for_(context), member_columns(members))
    return {(row.chat_id, row.user_id): row for row in rows}


def member_columns(members: Collection[Member]) -> dict[str, str]:
    """Return the parameters `chats` and `users` of a statement about these members."""
    return {
        "chats": array(chat_id for chat_id, _ in members),
        "users": array(user_id for _, user_id in members),
    }


def delivered_up_to(member: Row[Any]) -> int:
    """Return the seq up to which clients see messages as delivered. Read messages count as delivered."""
    return max(int(member.delivered_seq), int(member.read_seq))


def to_peer(member: Row[Any], online: frozenset[str]) -> Peer:
    """Describe a member to the other one, as far as they are to know it."""
    last_seen = member.last_seen_at if member.shows_presence else None
    return Peer(
        user_id=member.user_id,
        username=member.username,
        online=member.shows_presence and member.user_id in online,
        last_seen=iso_ms(last_seen) if last_seen else None,
        delivered_up_to=member.shown_delivered_seq,
        read_up_to=member.shown_read_seq,
        **profile_fields(member),
    )


def to_own(member: Row[Any]) -> ChatChanged:
    """Describe what a chat is like for a member alone."""
    return ChatChanged(
        chat_id=member.chat_id,
        cleared_up_to=member.cleared_seq,
        box=_NAMES[member.box],
        pinned=member.box == Box.PINNED,
        muted_until=iso_ms(member.muted_until) if member.muted_until else None,
        blocked=member.blocked_at is not None,
    )


class OwnFields(TypedDict):
    """What answers about a chat say of it for the caller alone, where it is not as usual."""

    cleared_up_to: int | msgspec.UnsetType
    box: BoxName | msgspec.UnsetType
    pinned: bool | msgspec.UnsetType
    muted_until: str | msgspec.UnsetType
    blocked: bool | msgspec.UnsetType


def own_fields(member: Row[Any]) -> OwnFields:
    """Return these fields of the answers to a member."""
    own = to_own(member)
    return OwnFields(
        cleared_up_to=own.cleared_up_to or msgspec.UNSET,
        box=msgspec.UNSET if own.box == "inbox" else own.box,
        pinned=own.pinned or msgspec.UNSET,
        muted_until=own.muted_until or msgspec.UNSET,
        blocked=own.blocked or msgspec.UNSET,
    )


def tell_read(
    outcome: Outcome, chat: Chat, member: Row[Any], up_to: int, at: str, *, skip: str | None
) -> None:
    """Tell the user's other sockets, and the other member, how far a locked member has read.

    A peer who is not to know that hears that the messages were received, if they are to know this.
    """
    user_id, peer_id = member.user_id, chat.peer_of(member.user_id)
    status = MessageStatus(chat_id=chat.id, user_id=user_id, status="read", up_to=up_to, at=at)
    outcome.emit(user_id, MESSAGE_STATUS, status, skip=skip)
    if peer_id == user_id:
        return
    if member.tells_read:
        outcome.emit(peer_id, MESSAGE_STATUS, status)
    elif member.tells_delivered and up_to > delivered_up_to(member):
        tell_delivered(outcome, chat.id, user_id, chat.pair, up_to, at)


def tell_delivered(outcome: Outcome, chat_id: str, user_id: str, pair: Pair, up_to: int, at: str) -> None:
    """Tell the other member that the user has received all messages up to a seq."""
    status = MessageStatus(chat_id=chat_id, user_id=user_id, status="delivered", up_to=up_to, at=at)
    outcome.emit(pair.peer_of(user_id), MESSAGE_STATUS, status)
