"""Reading how far the members of chats have got, and describing a member to the other one."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from infra.wire.events import Peer, iso_ms

_MEMBERS = text(
    """
    SELECT w.chat_id, w.user_id, w.delivered_seq, w.read_seq, p.username, p.last_seen_at
    FROM chat_members w JOIN profiles p ON p.id = w.user_id
    WHERE w.chat_id = ANY(CAST(:chats AS uuid[]))
    """
)


def read_members(conn: Connection, chat_ids: Collection[UUID]) -> dict[tuple[UUID, UUID], Row[Any]]:
    """Return watermarks and names of all members of the chats, by chat and user."""
    rows = conn.execute(_MEMBERS, {"chats": sorted(set(chat_ids))})
    return {(row.chat_id, row.user_id): row for row in rows}


def to_peer(member: Row[Any], online: frozenset[str]) -> Peer:
    """Describe a member to the other one."""
    return Peer(
        user_id=str(member.user_id),
        username=member.username,
        online=str(member.user_id) in online,
        last_seen=iso_ms(member.last_seen_at) if member.last_seen_at else None,
        delivered_up_to=member.delivered_seq,
        read_up_to=member.read_seq,
    )
