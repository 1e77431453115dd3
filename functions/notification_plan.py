"""Decides which offline users are notified now, and of which messages.

The workers' sweep notes in `undelivered` whose messages are unconfirmed, so no table is scanned here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import Connection, Row, text

from functions.context import Context
from functions.quiet_hours import quiet_until
from infra.settings.functions import FunctionSettings
from infra.settings.time_zones import time_zone_or
from infra.store.boxes import IS_SILENT

_DUE_USERS = text(
    """
    SELECT DISTINCT user_id FROM (
        SELECT user_id FROM undelivered
        WHERE check_at < CAST(:began AS timestamptz) - make_interval(secs => :delay_s)
        ORDER BY check_at LIMIT :limit
    ) due
    """
)
_OPEN = """
    SELECT chat_id, user_id FROM undelivered
    WHERE check_at IS NOT NULL AND user_id = ANY(CAST(:users AS uuid[]))
    ORDER BY chat_id, user_id
    {lock}
"""
"""Everything that is open for some users, due or not.

Rows are locked in the same order as in the sweep. What the sweep has locked waits for the next run, and what
it notes while these rows are locked comes after them.
"""
_LOCK_OPEN = text(_OPEN.format(lock="FOR UPDATE SKIP LOCKED"))
_READ_OPEN = text(_OPEN.format(lock=""))

_UNDELIVERED = text(
    f"""
    SELECT u.chat_id, u.user_id, c.last_seq, oldest.seq, oldest.created_at, now() AS now
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS open (chat_id, user_id)
    JOIN undelivered u ON u.chat_id = open.chat_id AND u.user_id = open.user_id
    JOIN chats c ON c.id = u.chat_id
    JOIN chat_members w ON w.chat_id = u.chat_id AND w.user_id = u.user_id
    LEFT JOIN LATERAL (
        SELECT seq, created_at FROM messages
        WHERE chat_id = u.chat_id AND seq > greatest(w.delivered_seq, w.read_seq, u.notified_seq)
            AND recipient_id = u.user_id AND sender_id <> u.user_id AND deleted_at IS NULL
        ORDER BY seq LIMIT 1
    ) oldest ON NOT {IS_SILENT.format(chat="c", user="u.user_id", member="w")}
    """
)
"""A separate statement, so that it sees what the sweep saw before the rows were locked.

Nobody is notified of a chat that is muted or blocked, or of a message request.
"""

_RECIPIENTS = text(
    """
    SELECT u.id,
        (SELECT max(created_at) FROM notifications n WHERE n.user_id = u.id) AS notified_at,
        EXISTS (SELECT FROM devices d WHERE d.user_id = u.id) AS has_device,
        (
            SELECT time_zone FROM devices d WHERE d.user_id = u.id AND time_zone IS NOT NULL
            ORDER BY registered_at DESC LIMIT 1
        ) AS time_zone
    FROM unnest(CAST(:users AS uuid[])) AS u (id)
    """
)
_INSERT = text(
    """
    INSERT INTO notifications (id, user_id, chat_ids, first_seqs, last_seqs)
    VALUES (:id, :user_id, :chat_ids, :first_seqs, :last_seqs)
    """
)
_SET_CHECKS = text(
    """
    UPDATE undelivered u SET check_at = next.at, notified_seq = greatest(u.notified_seq, next.notified_seq)
    FROM unnest(
        CAST(:chats AS uuid[]), CAST(:users AS uuid[]), CAST(:ats AS timestamptz[]), CAST(:seqs AS bigint[])
    ) AS next (chat_id, user_id, at, notified_seq)
    WHERE u.chat_id = next.chat_id AND u.user_id = next.user_id
    """
)
_PUT_OFF = text("UPDATE undelivered SET check_at = now() WHERE user_id = :user_id AND check_at IS NOT NULL")


class NextCheck(NamedTuple):
    """What to write to a row of `undelivered`."""

    chat_id: UUID
    user_id: UUID
    at: datetime | None
    """The delay counts from here. None if nothing is open until a new message arrives."""
    notified_seq: int
    """How far the user has been notified, or 0 to leave it as it is."""


@dataclass(slots=True)
class NotificationPlan:
    """What to write for some users, and how many of them got each decision."""

    notifications: list[dict[str, Any]] = field(default_factory=list)
    checks: list[NextCheck] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def close(self, rows: Iterable[Row[Any]], *, notified: bool) -> None:
        """Do not check these rows again until a new message arrives."""
        self.checks += [
            NextCheck(row.chat_id, row.user_id, None, row.last_seq if notified else 0) for row in rows
        ]

    def postpone(self, rows: Iterable[Row[Any]], until: datetime) -> None:
        """Let the delay count from `until`."""
        self.checks += [NextCheck(row.chat_id, row.user_id, until, 0) for row in rows]

    def notify(self, user_id: UUID, rows: Sequence[Row[Any]]) -> None:
        """Make one notification of everything that is open for a user."""
        self.notifications.append(
            {
                "id": uuid_utils.uuid7(),
                "user_id": user_id,
                "chat_ids": [row.chat_id for row in rows],
                "first_seqs": [row.seq for row in rows],
                "last_seqs": [row.last_seq for row in rows],
            }
        )
        self.close(rows, notified=True)


def read_due_users(conn: Connection, began: datetime, delay_s: float, limit: int) -> set[UUID]:
    """Return the users of the `limit` rows that were due first when the run `began`."""
    params = {"began": began, "delay_s": delay_s, "limit": limit}
    return set(conn.execute(_DUE_USERS, params).scalars())


def make_plan(conn: Connection, context: Context, users: Iterable[UUID], *, lock: bool) -> NotificationPlan:
    """Plan for some users. Raises redis.RedisError."""
    plan = NotificationPlan()
    rows = conn.execute(_LOCK_OPEN if lock else _READ_OPEN, {"users": sorted(users)}).all()
    if not rows:
        return plan
    online = context.presence.online({str(user_id) for _, user_id in rows})
    columns = {"chats": [chat_id for chat_id, _ in rows], "users": [user_id for _, user_id in rows]}
    by_user: dict[UUID, list[Row[Any]]] = defaultdict(list)
    for row in conn.execute(_UNDELIVERED, columns):
        by_user[row.user_id].append(row)
    recipients = {row.id: row for row in conn.execute(_RECIPIENTS, {"users": sorted(by_user)})}
    for user_id, open_rows in by_user.items():
        _plan_user(plan, open_rows, recipients[user_id], str(user_id) in online, context.settings)
    return plan


def write_plan(conn: Connection, plan: NotificationPlan) -> None:
    """Insert the notifications and update `undelivered`."""
    if plan.notifications:
        conn.execute(_INSERT, plan.notifications)
    if plan.checks:
        chats, users, ats, seqs = zip(*sorted(plan.checks, key=lambda check: check[:2]), strict=True)
        conn.execute(
            _SET_CHECKS, {"chats": list(chats), "users": list(users), "ats": list(ats), "seqs": list(seqs)}
        )


def put_off(conn: Connection, user_id: UUID) -> None:
    """Let the delay of a user whose data cannot be handled count from now."""
    conn.execute(_PUT_OFF, {"user_id": user_id})


def _plan_user(
    plan: NotificationPlan,
    rows: Sequence[Row[Any]],
    recipient: Row[Any],
    is_online: bool,
    settings: FunctionSettings,
) -> None:
    open_rows = [row for row in rows if row.seq is not None]
    plan.close((row for row in rows if row.seq is None), notified=False)
    now = rows[0].now
    delay = timedelta(seconds=settings.offline_delay_s)
    zone = time_zone_or(recipient.time_zone, settings.time_zone)
    if not open_rows:
        plan.counts["obsolete"] += 1
    elif is_online:
        plan.counts["online"] += 1
        plan.postpone(open_rows, now)
    elif all(row.created_at > now - delay for row in open_rows):
        for row in open_rows:
            plan.postpone([row], row.created_at)
    elif not recipient.has_device and not settings.push_log:
        plan.counts["no_device"] += 1
        plan.close(open_rows, notified=True)
    elif until := quiet_until(settings.quiet_hours, zone, now):
        plan.counts["quiet"] += 1
        plan.postpone(open_rows, until - delay)
    elif until := _interval_end(recipient, now, settings):
        plan.counts["too_soon"] += 1
        plan.postpone(open_rows, until - delay)
    else:
        plan.counts["notified"] += 1
        plan.notify(recipient.id, open_rows)


def _interval_end(recipient: Row[Any], now: datetime, settings: FunctionSettings) -> datetime | None:
    """Return the end of the minimum interval since the user's last notification, or None if it is over."""
    if recipient.notified_at is None:
        return None
    until: datetime = recipient.notified_at + timedelta(seconds=settings.offline_interval_s)
    return until if until > now else None
