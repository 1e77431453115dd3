"""The states of a notification: due, claimed, and finished or given back. One row of `notifications` each.

Workers open one again when a message that it covers is unsent: see `workers/handlers/unsend_message.py`.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, text

from infra.store.outbox import insertion
from infra.wire.webhooks import NOTIFICATION_FAILED, Subscriptions

_EXPIRE = """
    WITH late AS (
        UPDATE notifications SET finished_at = now(),
            outcome = CASE WHEN sent_to = '{}' THEN 'failed' ELSE 'sent' END
        WHERE id IN (
            SELECT id FROM notifications
            WHERE finished_at IS NULL AND coalesce(unsent_at, created_at) <= now() - interval '24 hours'
                AND (claimed_until IS NULL OR claimed_until < now())
            ORDER BY id LIMIT 1000
            FOR UPDATE SKIP LOCKED
        )
        RETURNING id, user_id, chat_ids, tries, outcome
    ){told}
    INSERT INTO dead_letters (id, event, user_id, payload, error)
    SELECT id, 'push', user_id, json_build_object('notificationId', id)::text,
        format('not sent within a day, tried %s times', tries)
    FROM late
    WHERE outcome = 'failed'
    ON CONFLICT (id) DO NOTHING
"""


def _told(*, error: str, source: str) -> str:
    """Return a statement, for a CTE, that tells the app's backend which notifications have failed.

    One that was sent back to the queue may fail again.
    """
    return insertion(
        NOTIFICATION_FAILED,
        key="id || '/' || CAST(extract(epoch FROM now()) * 1000 AS bigint)",
        about="user_id",
        body=f"""
            CAST(json_build_object(
                'notificationId', id, 'userId', user_id, 'chatIds', chat_ids, 'error', {error}
            ) AS text)
        """,
        source=source,
    )


_EXPIRE_SILENTLY = text(_EXPIRE.replace("{told}", ""))
_EXPIRE_AND_TELL = text(
    _EXPIRE.replace(
        "{told}",
        ", told AS ({})".format(
            _told(error="'not sent within a day'", source="late WHERE outcome = 'failed'"),
        ),
    )
)
_TELL_FAILED = text(
    _told(error="CAST(:error AS text)", source="(SELECT * FROM notifications WHERE id = :id) failed")
)
_TAKE_DUE = text(
    """
    UPDATE notifications SET next_at = now() + interval '1 hour'
    WHERE id IN (
        SELECT id FROM notifications
        WHERE finished_at IS NULL AND next_at <= now()
        ORDER BY next_at LIMIT 100
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
    """
)
_CLAIM = text(
    """
    UPDATE notifications SET claimed_until = now() + interval '5 minutes',
        next_at = now() + interval '10 minutes',
        tries = CASE WHEN outcome = 'failed' THEN 1 ELSE tries + 1 END,
        refused_by = CASE WHEN outcome = 'failed' THEN '{}' ELSE refused_by END,
        outcome = CASE WHEN outcome = 'sent' THEN 'sent' END,
        finished_at = NULL
    WHERE id = :id AND (finished_at IS NULL OR outcome = 'failed')
        AND (claimed_until IS NULL OR claimed_until < now())
    RETURNING id, user_id, chat_ids, tries, sent_to, refused_by, outcome, unsent_at, to_replace, now() AS now
    """
)
_OUTCOME = text("SELECT outcome FROM notifications WHERE id = :id")
_UNCHANGED = "unsent_at IS NOT DISTINCT FROM CAST(:unsent_at AS timestamptz)"
"""Nothing has been unsent since the notification was claimed."""
_SENT_TO = text(
    f"""
    UPDATE notifications SET sent_to = array_append(sent_to, :device_id),
        to_replace = CASE WHEN {_UNCHANGED} THEN to_replace ELSE array_append(to_replace, :device_id) END
    WHERE id = :id
    """
)
_REPLACED_ON = text(
    f"""
    UPDATE notifications SET to_replace = array_remove(to_replace, :device_id)
    WHERE id = :id AND {_UNCHANGED}
    """
)
_REFUSED_BY = text(
    "UPDATE notifications SET refused_by = array_append(refused_by, :device_id) WHERE id = :id"
)
_FINISH = """
    UPDATE notifications SET finished_at = now(), claimed_until = NULL, outcome = :outcome
    WHERE id = :id {condition}
    RETURNING id
"""
_FINISH_UNCHANGED = text(_FINISH.format(condition=f"AND {_UNCHANGED}"))
_FINISH_ANYWAY = text(_FINISH.format(condition=""))
_REMOVE_DEAD_LETTER = text("DELETE FROM dead_letters WHERE id = :id AND event = 'push'")
_ADD_DEAD_LETTER = text(
    """
    INSERT INTO dead_letters (id, event, user_id, payload, error)
    SELECT id, 'push', user_id, :payload, :error FROM notifications WHERE id = :id
    ON CONFLICT (id) DO NOTHING
    """
)
_DEFER = text(
    "UPDATE notifications SET claimed_until = NULL, tries = tries - 1, next_at = :until WHERE id = :id"
)
_RELEASE = text(
    """
    UPDATE notifications
    SET claimed_until = NULL, tries = tries - :uncounted,
        next_at = now() + make_interval(secs => :after_s) + interval '10 minutes'
    WHERE id = :id
    """
)
_REQUEUE = text("UPDATE notifications SET next_at = now() + make_interval(secs => :after_s) WHERE id = :id")
_OPEN = text(
    """
    SELECT id FROM notifications
    WHERE finished_at IS NULL AND id > :after
    ORDER BY id LIMIT 100
    """
)


def expire(conn: Connection, subscriptions: Subscriptions) -> None:
    """Mark notifications that reached no device within a day as `failed`, and make them dead letters."""
    if endpoints := subscriptions.get(NOTIFICATION_FAILED):
        conn.execute(_EXPIRE_AND_TELL, {"endpoints": [*endpoints]})
    else:
        conn.execute(_EXPIRE_SILENTLY)


def take_due(conn: Connection) -> list[UUID]:
    """Return up to 100 notifications to queue: new ones, ones to retry, and ones that a queue has lost.

    They are due again in an hour, unless somebody claims them first.
    """
    return [row.id for row in conn.execute(_TAKE_DUE)]


def claim(conn: Connection, notification_id: UUID) -> Row[Any] | None:
    """Claim a notification for 5 minutes and count a try. Return its row, or None if it cannot be claimed.

    A failed one can be claimed, because somebody sent it back to the queue. Its tries count from 1 again, and
    devices that refused it are asked again.
    """
    return conn.execute(_CLAIM, {"id": notification_id}).one_or_none()


def read_outcome(conn: Connection, notification_id: UUID) -> str | None:
    """Return the outcome of a notification, None while it is open, or `unknown` if it does not exist.

    One that is being replaced is `sent`.
    """
    row = conn.execute(_OUTCOME, {"id": notification_id}).one_or_none()
    if row is None:
        return "unknown"
    outcome: str | None = row.outcome
    return outcome


def read_open(conn: Connection, after: UUID) -> list[UUID]:
    """Return the next unfinished notifications, in the order of their ids."""
    return [row.id for row in conn.execute(_OPEN, {"after": after})]


def note_sent(conn: Connection, claimed: Row[Any], device_id: UUID) -> None:
    """Note that a device received the notification as it was when it was claimed."""
    conn.execute(_SENT_TO, {"id": claimed.id, "device_id": device_id, "unsent_at": claimed.unsent_at})


def note_replaced(conn: Connection, claimed: Row[Any], device_id: UUID) -> None:
    """Note that a device shows the notification as it was when it was claimed, and nothing older."""
    conn.execute(_REPLACED_ON, {"id": claimed.id, "device_id": device_id, "unsent_at": claimed.unsent_at})


def note_refused(conn: Connection, notification_id: UUID, device_id: UUID) -> None:
    """Note that a device does not accept the notification."""
    conn.execute(_REFUSED_BY, {"id": notification_id, "device_id": device_id})


def finish(conn: Connection, claimed: Row[Any], outcome: str) -> bool:
    """Finish a notification as `sent`, `obsolete` or `no_device`.

    Return False, and leave it open, if a message was unsent since it was claimed.
    """
    params = {"id": claimed.id, "outcome": outcome, "unsent_at": claimed.unsent_at}
    if conn.execute(_FINISH_UNCHANGED, params).one_or_none() is None:
        return False
    conn.execute(_REMOVE_DEAD_LETTER, {"id": claimed.id})
    return True


def fail(conn: Connection, notification_id: UUID, error: str, subscriptions: Subscriptions) -> None:
    """Finish a notification as `failed` and make it a dead letter."""
    payload = msgspec.json.encode({"notificationId": notification_id}).decode()
    conn.execute(_FINISH_ANYWAY, {"id": notification_id, "outcome": "failed"})
    conn.execute(_ADD_DEAD_LETTER, {"id": notification_id, "payload": payload, "error": error})
    if endpoints := subscriptions.get(NOTIFICATION_FAILED):
        told = {"id": notification_id, "error": error, "endpoints": [*endpoints]}
        conn.execute(_TELL_FAILED, told)


def defer(conn: Connection, notification_id: UUID, until: datetime) -> None:
    """Give up the claim without counting a try. `offline_delivery` queues it again at `until`."""
    conn.execute(_DEFER, {"id": notification_id, "until": until})


def release(conn: Connection, notification_id: UUID, after_s: float, *, is_try: bool = True) -> None:
    """Give up the claim after a failed try. The queue that the id came from delivers it again in `after_s`.

    If it does not, `offline_delivery` queues the notification again 10 minutes later. Without `is_try`, it
    does not count.
    """
    conn.execute(_RELEASE, {"id": notification_id, "after_s": after_s, "uncounted": 0 if is_try else 1})


def requeue(conn: Connection, notification_id: UUID, after_s: float) -> None:
    """Have `offline_delivery` queue the notification again in `after_s`."""
    conn.execute(_REQUEUE, {"id": notification_id, "after_s": after_s})
