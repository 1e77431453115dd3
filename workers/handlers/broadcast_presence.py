"""`announce`: tells peers that a user came online or went offline."""

from collections.abc import Collection, Generator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, text

from infra.store.boxes import SHOWS_PRESENCE
from infra.store.outbox import ISO_MS
from infra.wire.commands import BroadcastPresence
from infra.wire.events import USER_STATUS, Done, UserStatus, iso_ms
from infra.wire.webhooks import USER_OFFLINE, USER_ONLINE, Subscriptions
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
_SEEN_AND_TELL = text(
    f"""
    WITH seen AS (
        UPDATE profiles SET last_seen_at = now()
        WHERE id = ANY(CAST(:users AS uuid[])) AND deleted_at IS NULL
        RETURNING id, username
    )
    INSERT INTO outbox (endpoint, id, event, about, body)
    SELECT endpoint, event || '/' || key, event, seen.id, CAST(json_build_object(
        'userId', seen.id, 'username', seen.username, 'at', {ISO_MS.format(moment="now()")}
    ) AS text)
    FROM unnest(
        CAST(:endpoints AS text[]), CAST(:events AS text[]), CAST(:told AS uuid[]), CAST(:keys AS text[])
    ) AS told (endpoint, event, user_id, key)
    JOIN seen ON seen.id = told.user_id
    """
)
_IS_SHOWN = SHOWS_PRESENCE.format(chat="c", user="me.user_id", profile="p")
_PEERS = f"""
    SELECT me.user_id, p.username, p.last_seen_at, peer.user_id AS peer_id, {_IS_SHOWN} AS is_shown
    FROM {{users}}
    JOIN chat_members me ON me.user_id = was.id
    JOIN chat_members peer ON peer.chat_id = me.chat_id AND peer.user_id <> me.user_id
    JOIN profiles p ON p.id = me.user_id AND p.deleted_at IS NULL
    JOIN chats c ON c.id = me.chat_id
    WHERE peer.joined_at IS NOT NULL AND {{condition}}
"""
_TO_WHOM_SHOWN = text(_PEERS.format(users="unnest(CAST(:users AS uuid[])) AS was (id)", condition=_IS_SHOWN))
_TO_WHOM_CHANGED = text(
    _PEERS.format(
        users="""
            (
                SELECT id, show_presence, CAST(NULL AS timestamptz) AS deleted_at
                FROM unnest(CAST(:users AS uuid[]), CAST(:wishes AS text[])) AS wish (id, show_presence)
            ) was
        """,
        condition=f"{_IS_SHOWN} <> {SHOWS_PRESENCE.format(chat='c', user='me.user_id', profile='was')}",
    )
)
"""Those who see the presence of users now and have not seen it before, or the reverse."""


def broadcast_presence(
    conn: Connection, requests: Sequence[Request[BroadcastPresence]], context: HandlerContext
) -> Outcome:
    """Tell the peers whether each user is online now. The user may have sockets on other edges."""
    outcome = _tell_peers(conn, {request.user_id: request.id for request in requests}, context)
    for request in requests:
        outcome.succeed(request, Done())
    return outcome


def _tell_peers(conn: Connection, causes: Mapping[str, str], context: HandlerContext) -> Outcome:
    """Tell whether the users are online: those who have joined a chat with them and are to know."""
    outcome = Outcome()
    online = context.presence.online(causes)
    note_last_seen(conn, causes, online, context.webhooks)
    for part in announcements(conn, causes, online):
        outcome.extend(part)
    return outcome


def note_last_seen(
    conn: Connection, causes: Mapping[str, str], online: Collection[str], subscriptions: Subscriptions
) -> None:
    """Record that the users were online until now, and have the app's backend hear whether they still are.

    `causes` says, by user, what distinguishes this from other times.
    """
    told = [
        (endpoint, event, user_id, cause)
        for user_id, cause in causes.items()
        for event in [USER_ONLINE if user_id in online else USER_OFFLINE]
        for endpoint in subscriptions.get(event, ())
    ]
    if not told:
        conn.execute(_SEEN, {"users": array(causes)})
        return
    endpoints, events, users, keys = zip(*told, strict=True)
    columns = {"endpoints": [*endpoints], "events": [*events], "told": array(users), "keys": [*keys]}
    conn.execute(_SEEN_AND_TELL, {"users": array(causes), **columns})


def tell_visibility(conn: Connection, wishes: Mapping[str, str], context: HandlerContext) -> Outcome:
    """Tell those who see more or less of users since these have changed who sees their presence.

    `wishes` are the settings from before, by user. Who sees somebody no longer sees them go offline.
    """
    outcome = Outcome()
    online = context.presence.online(wishes)
    rows = conn.execute(_TO_WHOM_CHANGED, {"users": array(wishes), "wishes": list(wishes.values())})
    for part in _statuses(rows, online):
        outcome.extend(part)
    return outcome


def announcements(
    conn: Connection, user_ids: Collection[str], online: Collection[str]
) -> Generator[Outcome, None, None]:
    """Yield, in portions, what tells their peers which of the users are `online`."""
    with conn.execute(_TO_WHOM_SHOWN, {"users": array(user_ids)}) as rows:
        yield from _statuses(rows, online)


def _statuses(rows: CursorResult[Any], online: Collection[str]) -> Generator[Outcome, None, None]:
    for portion in rows.partitions(_PEERS_OF_PORTION):
        outcome = Outcome()
        for row in portion:
            is_online = row.is_shown and row.user_id in online
            last_seen = row.last_seen_at if row.is_shown else None
            status = UserStatus(
                user_id=row.user_id,
                username=row.username,
                status="online" if is_online else "offline",
                last_seen=iso_ms(last_seen) if last_seen else None,
            )
            outcome.emit(row.peer_id, USER_STATUS, status)
        yield outcome
