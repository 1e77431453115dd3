"""Notifies who is away: one digest for each user with messages undelivered for longer than the delay.

The sweep of the workers notes in `undelivered` whose messages nobody has confirmed, so nothing is scanned
here. What a notification is about is fixed in the transaction that makes it; the queue holds its id only.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuid_utils
from sqlalchemy import Connection, Row, TextClause, text

from functions.context import Context, Stopwatch, Summary
from functions.quiet_hours import quiet_until
from infra.presence import Presence
from infra.settings.functions import FunctionSettings

_MEMBERS = 1_000
"""Members that one transaction looks at."""
_DRY_MEMBERS = 10_000
"""Members that a dry run looks at."""

_NOW = text("SELECT now()")
_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_LOCK_ID = 0x6262_6F64

_DUE = """
    SELECT chat_id, user_id FROM undelivered
    WHERE check_at IS NOT NULL AND user_id IN (
        SELECT user_id FROM undelivered
        WHERE check_at < CAST(:began AS timestamptz) - make_interval(secs => :delay_s)
        ORDER BY check_at LIMIT :members
    )
    ORDER BY chat_id, user_id
    {lock}
"""
"""All that is open of the users for whom something is due. In the order in which the sweep locks; what it
holds right now waits for the next run, and what it notes while these are locked comes after them."""
_LOCK_DUE = text(_DUE.format(lock="FOR UPDATE SKIP LOCKED"))
_READ_DUE = text(_DUE.format(lock=""))

_OPEN = text(
    """
    SELECT u.chat_id, u.user_id, c.last_seq, oldest.seq, oldest.created_at, now() AS now
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS due (chat_id, user_id)
    JOIN undelivered u ON u.chat_id = due.chat_id AND u.user_id = due.user_id
    JOIN chats c ON c.id = u.chat_id
    JOIN chat_members w ON w.chat_id = u.chat_id AND w.user_id = u.user_id
    LEFT JOIN LATERAL (
        SELECT seq, created_at FROM messages
        WHERE chat_id = u.chat_id AND seq > greatest(w.delivered_seq, w.read_seq, u.notified_seq)
            AND recipient_id = u.user_id AND sender_id <> u.user_id
        ORDER BY seq LIMIT 1
    ) oldest ON true
    """
)
"""A statement of its own, so that it sees what the sweep had seen before the rows were locked."""

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
_LOOK_AGAIN = text(
    """
    UPDATE undelivered u SET check_at = again.at, notified_seq = greatest(u.notified_seq, again.notified_seq)
    FROM unnest(
        CAST(:chats AS uuid[]), CAST(:users AS uuid[]), CAST(:ats AS timestamptz[]), CAST(:seqs AS bigint[])
    ) AS again (chat_id, user_id, at, notified_seq)
    WHERE u.chat_id = again.chat_id AND u.user_id = again.user_id
    """
)
_EXPIRE = text(
    """
    WITH late AS (
        UPDATE notifications SET finished_at = now(), outcome = 'failed'
        WHERE id IN (
            SELECT id FROM notifications
            WHERE finished_at IS NULL AND created_at <= now() - interval '1 day'
                AND (claimed_until IS NULL OR claimed_until < now())
            ORDER BY id LIMIT 1000
            FOR UPDATE SKIP LOCKED
        )
        RETURNING id, user_id, tries
    )
    INSERT INTO dead_letters (id, event, user_id, payload, error)
    SELECT id, 'push', user_id, json_build_object('notificationId', id)::text,
        format('not sent within a day, tried %s times', tries)
    FROM late
    ON CONFLICT (id) DO NOTHING
    """
)
_TAKE = text(
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
"""What is new, what is to be tried again, and what a queue has lost."""


@dataclass(slots=True)
class _Plan:
    """What is to be written for some members, and how many users got which treatment."""

    notifications: list[dict[str, Any]] = field(default_factory=list)
    members: list[tuple[UUID, UUID, datetime | None, int]] = field(default_factory=list)
    """Chat, user, when to look again less the delay, and how far they have been notified."""
    counts: Counter[str] = field(default_factory=Counter)

    def settle(self, rows: Iterable[Row[Any]], *, notified: bool) -> None:
        """Have nobody look at these members until something new comes."""
        self.members += [(r.chat_id, r.user_id, None, r.last_seq if notified else 0) for r in rows]

    def postpone(self, rows: Iterable[Row[Any]], until: datetime) -> None:
        """Have the delay count from `until`."""
        self.members += [(row.chat_id, row.user_id, until, 0) for row in rows]

    def notify(self, user_id: UUID, rows: Sequence[Row[Any]]) -> None:
        """Make one digest of all that is open for the user."""
        self.notifications.append(
            {
                "id": uuid_utils.uuid7(),
                "user_id": user_id,
                "chat_ids": [row.chat_id for row in rows],
                "first_seqs": [row.seq for row in rows],
                "last_seqs": [row.last_seq for row in rows],
            }
        )
        self.settle(rows, notified=True)


def offline_delivery(context: Context, watch: Stopwatch, dry_run: bool) -> Summary:
    """Queue a notification for everybody who is due. Raises redis.RedisError and SQLAlchemyError."""
    counts: Counter[str] = Counter(notified=0, online=0, quiet=0, too_soon=0, no_device=0, obsolete=0)
    with context.engine.connect() as conn:
        began: datetime = conn.execute(_NOW).scalar_one()
    if dry_run:
        with context.engine.connect() as conn:
            plan = _plan(conn, context, _READ_DUE, began, _DRY_MEMBERS)
        counts.update(plan.counts)
        return {**counts, "queued": 0}
    while not watch.is_over:
        with context.engine.begin() as conn:
            if not conn.execute(_LOCK, {"lock": _LOCK_ID}).scalar():
                break
            plan = _plan(conn, context, _LOCK_DUE, began, _MEMBERS)
            _write(conn, plan)
        counts.update(plan.counts)
        if not plan.members:
            break
    return {**counts, "queued": _queue(context, watch)}


def _plan(conn: Connection, context: Context, due: TextClause, began: datetime, members: int) -> _Plan:
    settings = context.settings
    plan = _Plan()
    params = {"began": began, "delay_s": settings.offline_delay_s, "members": members}
    keys = conn.execute(due, params).all()
    if not keys:
        return plan
    online = Presence(context.redis).online({str(user_id) for _, user_id in keys})
    columns = {"chats": [chat_id for chat_id, _ in keys], "users": [user_id for _, user_id in keys]}
    rows = conn.execute(_OPEN, columns).all()
    by_user: dict[UUID, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_user[row.user_id].append(row)
    recipients = {row.id: row for row in conn.execute(_RECIPIENTS, {"users": sorted(by_user)})}
    for user_id, mine in by_user.items():
        _plan_user(plan, mine, recipients[user_id], str(user_id) in online, settings)
    return plan


def _plan_user(
    plan: _Plan, rows: Sequence[Row[Any]], recipient: Row[Any], is_online: bool, settings: FunctionSettings
) -> None:
    open_rows = [row for row in rows if row.seq is not None]
    plan.settle((row for row in rows if row.seq is None), notified=False)
    now = rows[0].now
    delay = timedelta(seconds=settings.offline_delay_s)
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
        plan.settle(open_rows, notified=True)
    elif until := quiet_until(settings.quiet_hours, recipient.time_zone or settings.time_zone, now):
        plan.counts["quiet"] += 1
        plan.postpone(open_rows, until - delay)
    elif until := _too_soon(recipient, now, settings):
        plan.counts["too_soon"] += 1
        plan.postpone(open_rows, until - delay)
    else:
        plan.counts["notified"] += 1
        plan.notify(recipient.id, open_rows)


def _too_soon(recipient: Row[Any], now: datetime, settings: FunctionSettings) -> datetime | None:
    """Return the end of the minimum interval since the user's last notification, if it is not over."""
    if recipient.notified_at is None:
        return None
    until: datetime = recipient.notified_at + timedelta(seconds=settings.offline_interval_s)
    return until if until > now else None


def _write(conn: Connection, plan: _Plan) -> None:
    if plan.notifications:
        conn.execute(_INSERT, plan.notifications)
    if plan.members:
        chats, users, ats, seqs = zip(*sorted(plan.members, key=_by_key), strict=True)
        conn.execute(
            _LOOK_AGAIN, {"chats": list(chats), "users": list(users), "ats": list(ats), "seqs": list(seqs)}
        )


def _by_key(member: tuple[UUID, UUID, datetime | None, int]) -> tuple[UUID, UUID]:
    return member[0], member[1]


def _queue(context: Context, watch: Stopwatch) -> int:
    """Put on the queue what is due; before the commit, so that a queue that refuses loses nothing."""
    with context.engine.begin() as conn:
        conn.execute(_EXPIRE)
    queued = 0
    while True:
        with context.engine.begin() as conn:
            ids = [row.id for row in conn.execute(_TAKE)]
            if ids:
                context.queue.put(ids)
        queued += len(ids)
        if not ids or watch.is_over:
            return queued
