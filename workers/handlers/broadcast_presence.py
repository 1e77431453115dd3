"""`announce`: tells peers that a user came online or went offline."""

from collections.abc import Collection, Generator, Sequence
from typing import Final

from sqlalchemy import Connection, text

from infra.wire.commands import BroadcastPresence
from infra.wire.events import USER_STATUS, Done, UserStatus, iso_ms
from workers.arrays import array
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request

_PEERS_OF_PORTION: Final = 1_000

_SEEN = text(
    """
    UPDATE profiles SET last_seen_at = now()
    WHERE id = ANY(CAST(:users AS uuid[])) AND deleted_at IS NULL
    """
)
_PEERS = text(
    """
    SELECT me.user_id, p.username, p.last_seen_at, peer.user_id AS peer_id
    FROM chat_members me
    JOIN chat_members peer ON peer.chat_id = me.chat_id AND peer.user_id <> me.user_id
    JOIN profiles p ON p.id = me.user_id AND p.deleted_at IS NULL
    WHERE me.user_id = ANY(CAST(:users AS uuid[])) AND peer.joined_at IS NOT NULL
    """
)


def broadcast_presence(
    conn: Connection, requests: Sequence[Request[BroadcastPresence]], context: HandlerContext
) -> Outcome:
    """Tell the peers whether each user is online now. The user may have sockets on other edges."""
    outcome = tell_peers(conn, {request.user_id for request in requests}, context)
    for request in requests:
        outcome.succeed(request, Done())
    return outcome


def tell_peers(conn: Connection, user_ids: Collection[str], context: HandlerContext) -> Outcome:
    """Tell everybody who has joined a chat with one of the users whether that user is online."""
    outcome = Outcome()
    online = context.presence.online(user_ids)
    note_last_seen(conn, user_ids)
    for part in announcements(conn, user_ids, online):
        outcome.extend(part)
    return outcome


def note_last_seen(conn: Connection, user_ids: Collection[str]) -> None:
    """Record that the users were online until now."""
    conn.execute(_SEEN, {"users": array(user_ids)})


def announcements(
    conn: Connection, user_ids: Collection[str], online: Collection[str]
) -> Generator[Outcome, None, None]:
    """Yield, in portions, what tells their peers which of the users are `online`."""
    with conn.execute(_PEERS, {"users": array(user_ids)}) as rows:
        for portion in rows.partitions(_PEERS_OF_PORTION):
            outcome = Outcome()
            for row in portion:
                status = UserStatus(
                    user_id=row.user_id,
                    username=row.username,
                    status="online" if row.user_id in online else "offline",
                    last_seen=iso_ms(row.last_seen_at) if row.last_seen_at else None,
                )
                outcome.emit(row.peer_id, USER_STATUS, status)
            yield outcome
