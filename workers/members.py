"""How far the members of chats have got: reading, locking, and describing a member to the other one."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, text

from infra.wire.events import Peer, iso_ms
from workers.arrays import array

_MEMBERS = text(
    """
    SELECT w.chat_id, w.user_id, w.delivered_seq, w.read_seq, w.joined_at, p.username, p.last_seen_at
    FROM chat_members w JOIN profiles p ON p.id = w.user_id
    WHERE w.chat_id = ANY(CAST(:chats AS uuid[]))
    """
)
_BY_KEY = """
    SELECT w.chat_id, w.user_id, w.delivered_seq, w.read_seq, c.user_lo, c.user_hi, c.last_seq
    FROM chat_members w
    JOIN unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS member (chat_id, user_id)
        ON w.chat_id = member.chat_id AND w.user_id = member.user_id
    JOIN chats c ON c.id = w.chat_id
    ORDER BY w.chat_id, w.user_id
    FOR NO KEY UPDATE OF w
"""
_LOCK = text(_BY_KEY)
_TRY_LOCK = text(f"{_BY_KEY} SKIP LOCKED")


def read_members(conn: Connection, chat_ids: Collection[str]) -> dict[tuple[str, str], Row[Any]]:
    """Return watermarks and names of all members of the chats, by chat and user."""
    rows = conn.execute(_MEMBERS, {"chats": array(set(chat_ids))})
    return {(row.chat_id, row.user_id): row for row in rows}


def lock_members(
    conn: Connection, members: Collection[tuple[str, str]], *, patient: bool
) -> dict[tuple[str, str], Row[Any]]:
    """Lock the members (chat and user) in the order of the key; return their watermarks and chats.

    Without patience those that somebody else has locked are left out.
    """
    rows = conn.execute(_LOCK if patient else _TRY_LOCK, member_columns(members))
    return {(row.chat_id, row.user_id): row for row in rows}


def member_columns(members: Collection[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters `chats` and `users` of a statement about these members."""
    return {
        "chats": array(chat_id for chat_id, _ in members),
        "users": array(user_id for _, user_id in members),
    }


def delivered_up_to(member: Row[Any]) -> int:
    """Return what clients are shown as delivered: what was read counts, whichever socket got it."""
    return max(int(member.delivered_seq), int(member.read_seq))


def to_peer(member: Row[Any], online: frozenset[str]) -> Peer:
    """Describe a member to the other one."""
    return Peer(
        user_id=member.user_id,
        username=member.username,
        online=member.user_id in online,
        last_seen=iso_ms(member.last_seen_at) if member.last_seen_at else None,
        delivered_up_to=delivered_up_to(member),
        read_up_to=member.read_seq,
    )
