"""Tells peers that a user came online or went offline."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, text

from infra.wire.commands import Announce
from infra.wire.events import USER_STATUS, Done, UserStatus, iso_ms
from workers.arrays import array
from workers.requests import Outcome, Request
from workers.rules import Rules

_SEEN = text("UPDATE profiles SET last_seen_at = now() WHERE id = ANY(CAST(:users AS uuid[]))")
_PEERS = text(
    """
    SELECT me.user_id, p.username, p.last_seen_at, peer.user_id AS peer_id
    FROM chat_members me
    JOIN chat_members peer ON peer.chat_id = me.chat_id AND peer.user_id <> me.user_id
    JOIN profiles p ON p.id = me.user_id
    WHERE me.user_id = ANY(CAST(:users AS uuid[])) AND peer.joined_at IS NOT NULL
    """
)


def announce(conn: Connection, requests: Sequence[Request[Announce]], rules: Rules) -> Outcome:
    """Announce what holds now, which may be more than one edge knows."""
    outcome = announce_users(conn, {request.user_id for request in requests}, rules)
    for request in requests:
        outcome.succeed(request, Done())
    return outcome


def announce_users(conn: Connection, user_ids: Collection[str], rules: Rules) -> Outcome:
    """Tell everybody who has joined a chat with one of the users whether that user is online."""
    outcome = Outcome()
    online = rules.presence.online(user_ids)
    users = array(user_ids)
    conn.execute(_SEEN, {"users": users})
    for row in conn.execute(_PEERS, {"users": users}):
        status = UserStatus(
            user_id=row.user_id,
            username=row.username,
            status="online" if row.user_id in online else "offline",
            last_seen=iso_ms(row.last_seen_at) if row.last_seen_at else None,
        )
        outcome.emit(row.peer_id, USER_STATUS, status)
    return outcome
