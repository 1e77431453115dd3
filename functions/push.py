"""Sends notifications through the devices of their recipients.

A notification may come from its queue more than once, and two workers may hold it at the same time: it is
claimed first, and remembers which devices have got it. What was delivered or read meanwhile is left out.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection, Row, TextClause, text

from functions.channels.channel import Channel, Device, Gone, Notice, TryLater
from functions.channels.factory import make_channels
from functions.context import Context, Stopwatch, Summary
from functions.digest import digest, read_open_chats
from functions.quiet_hours import quiet_until

log = structlog.get_logger(__name__)

_SENDING_S = 20.0
"""After this time no further device is begun with in one try."""
_BACKOFF_S: Final = 30.0
_BACKOFF_MAX_S: Final = 900.0

_CLAIM = text(
    """
    UPDATE notifications SET claimed_until = now() + interval '5 minutes',
        next_at = now() + interval '10 minutes',
        tries = CASE WHEN outcome = 'failed' THEN 1 ELSE tries + 1 END,
        outcome = NULL, finished_at = NULL
    WHERE id = :id AND (finished_at IS NULL OR outcome = 'failed')
        AND (claimed_until IS NULL OR claimed_until < now())
    RETURNING id, user_id, tries, sent_to, now() AS now
    """
)
"""A failed one that somebody has sent back to the queue begins anew."""
_STATE = text("SELECT outcome FROM notifications WHERE id = :id")
_DEVICES = text(
    """
    SELECT id, user_id, channel, address, p256dh, auth, endpoint FROM devices
    WHERE user_id = :user_id ORDER BY registered_at DESC
    """
)
_REACHED = text("UPDATE notifications SET sent_to = array_append(sent_to, :device_id) WHERE id = :id")
_REMEMBER = text("UPDATE devices SET endpoint = :endpoint WHERE id = :id AND address = :address")
_REMOVE = text("DELETE FROM devices WHERE id = :id AND address = :address AND registered_at <= :looked_at")
_FINISH = text(
    "UPDATE notifications SET finished_at = now(), claimed_until = NULL, outcome = :outcome WHERE id = :id"
)
_FORGET_FAILURE = text("DELETE FROM dead_letters WHERE id = :id AND event = 'push'")
_WAIT = text(
    "UPDATE notifications SET claimed_until = NULL, tries = tries - 1, next_at = :until WHERE id = :id"
)
_ZONE = text(
    """
    SELECT time_zone FROM devices WHERE user_id = :user_id AND time_zone IS NOT NULL
    ORDER BY registered_at DESC LIMIT 1
    """
)
_RELEASE = text(
    """
    UPDATE notifications
    SET claimed_until = NULL, next_at = now() + make_interval(secs => :after_s) + interval '10 minutes'
    WHERE id = :id
    """
)
"""The queue that it came from tries again by itself; much later `offline_delivery` queues it anew."""
_POSTPONE = text("UPDATE notifications SET next_at = now() + make_interval(secs => :after_s) WHERE id = :id")
_BURY = text(
    """
    INSERT INTO dead_letters (id, event, user_id, payload, error)
    SELECT id, 'push', user_id, :payload, :error FROM notifications WHERE id = :id
    ON CONFLICT (id) DO NOTHING
    """
)
_OPEN = text(
    """
    SELECT id FROM notifications
    WHERE finished_at IS NULL AND id > :after
    ORDER BY id LIMIT 100
    """
)
_LOG_DEVICE_ID: Final = UUID(int=0)


class Failed(Exception):
    """A notification was tried as often as it may be."""


class Push:
    """Sends one notification at a time."""

    def __init__(self, context: Context, channels: Mapping[str, Channel] | None = None) -> None:
        self._engine = context.engine
        self._settings = context.settings
        self._channels = make_channels(context.settings) if channels is None else channels

    def deliver(self, notification_id: UUID) -> str:
        """Send to all devices that have not got it; return how it ended.

        `sent`, `obsolete`, `no_device`, `quiet` (offline_delivery queues it again when the quiet hours are
        over), or `unknown` when there is no such notification any more. Raises
        TryLater, Failed (this was the last try) and sqlalchemy.exc.SQLAlchemyError.
        """
        with self._engine.begin() as conn:
            claimed = conn.execute(_CLAIM, {"id": notification_id}).one_or_none()
            if claimed is None:
                return self._how_it_ended(conn, notification_id)
            if until := self._quiet_until(conn, claimed):
                conn.execute(_WAIT, {"id": notification_id, "until": until})
                return "quiet"
            chats = read_open_chats(conn, notification_id)
            devices = self._read_devices(conn, claimed) if chats else []
        if not chats:
            return self._finish(notification_id, "obsolete")
        notice = digest(notification_id, chats, hide_texts=self._settings.hide_texts)
        reached, failures = self._send_all(notice, devices, claimed)
        if failures:
            raise self._give_back(claimed, failures)
        return self._finish(notification_id, "sent" if reached else "no_device")

    def attempt(self, notification_id: UUID) -> str:
        """Do the same where no queue tries again by itself; return `later` or `failed` too."""
        try:
            return self.deliver(notification_id)
        except TryLater as failure:
            self._run(_POSTPONE, {"id": notification_id, "after_s": failure.after_s or _BACKOFF_S})
            return "later"
        except Failed:
            return "failed"

    def _how_it_ended(self, conn: Connection, notification_id: UUID) -> str:
        row = conn.execute(_STATE, {"id": notification_id}).one_or_none()
        if row is not None and (row.outcome is None or row.outcome == "failed"):
            raise TryLater("somebody else is at work on it")
        return "unknown" if row is None else str(row.outcome)

    def _read_devices(self, conn: Connection, claimed: Row[Any]) -> list[Device]:
        rows = conn.execute(_DEVICES, {"user_id": claimed.user_id})
        devices = [Device(*row) for row in rows]
        if self._settings.push_log:
            devices.append(Device(_LOG_DEVICE_ID, claimed.user_id, "log", "stderr"))
        return devices

    def _send_all(
        self, notice: Notice, devices: list[Device], claimed: Row[Any]
    ) -> tuple[int, list[TryLater]]:
        """Return how many devices have it now or had it before, and what is to be tried again."""
        reached = 0
        failures: list[TryLater] = []
        began = time.monotonic()
        for device in devices:
            channel = self._channels.get(device.channel)
            if device.id in claimed.sent_to:
                reached += 1
            elif channel is None:
                log.warning("channel_not_configured", channel=device.channel)
            elif time.monotonic() - began > _SENDING_S:
                failures.append(TryLater("there was no time left"))
            else:
                try:
                    endpoint = channel.send(device, notice)
                except Gone:
                    log.info("device_removed", device=str(device.id), channel=device.channel)
                    self._run(_REMOVE, {"id": device.id, "address": device.address, "looked_at": claimed.now})
                except TryLater as failure:
                    log.warning(
                        "push_failed", device=str(device.id), channel=device.channel, error=str(failure)
                    )
                    failures.append(failure)
                except Exception as error:  # a defect of a channel must not keep the notification for ever
                    log.error("channel_crashed", channel=device.channel, error=type(error).__name__)
                    failures.append(TryLater(f"{device.channel}: {type(error).__name__}"))
                else:
                    reached += 1
                    self._note_reached(notice.id, device, endpoint)
        return reached, failures

    def _note_reached(self, notification_id: UUID, device: Device, endpoint: str | None) -> None:
        with self._engine.begin() as conn:
            conn.execute(_REACHED, {"id": notification_id, "device_id": device.id})
            if endpoint is not None and endpoint != device.endpoint:
                conn.execute(_REMEMBER, {"id": device.id, "address": device.address, "endpoint": endpoint})

    def _give_back(self, claimed: Row[Any], failures: list[TryLater]) -> Exception:
        """Return what to raise after a try that left devices without the notification."""
        reason = "; ".join(sorted({str(failure) for failure in failures}))
        if claimed.tries >= self._settings.push_tries:
            error = f"tried {claimed.tries} times: {reason}"
            payload = msgspec.json.encode({"notificationId": claimed.id}).decode()
            self._finish(claimed.id, "failed", _BURY, {"payload": payload, "error": error})
            return Failed(error)
        asked = [failure.after_s for failure in failures if failure.after_s is not None]
        after_s = max([min(_BACKOFF_S * 2 ** (claimed.tries - 1), _BACKOFF_MAX_S), *asked])
        self._run(_RELEASE, {"id": claimed.id, "after_s": after_s})
        return TryLater(reason, after_s)

    def _quiet_until(self, conn: Connection, claimed: Row[Any]) -> datetime | None:
        """Return the end of the recipient's quiet hours if a late notification has come into them."""
        if self._settings.quiet_hours is None:
            return None
        zone = conn.execute(_ZONE, {"user_id": claimed.user_id}).scalar() or self._settings.time_zone
        return quiet_until(self._settings.quiet_hours, zone, claimed.now)

    def _finish(
        self,
        notification_id: UUID,
        outcome: str,
        dead_letter: TextClause = _FORGET_FAILURE,
        params: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        with self._engine.begin() as conn:
            conn.execute(_FINISH, {"id": notification_id, "outcome": outcome})
            conn.execute(dead_letter, {"id": notification_id, **params})
        log.info("notification_finished", notification=str(notification_id), outcome=outcome)
        return outcome

    def _run(self, statement: TextClause, params: dict[str, Any]) -> None:
        with self._engine.begin() as conn:
            conn.execute(statement, params)


def push_due(context: Context, watch: Stopwatch, dry_run: bool) -> Summary:
    """Send everything that is open now, without waiting for the queue."""
    summary = dict.fromkeys(("sent", "obsolete", "no_device", "quiet", "later", "failed", "unknown"), 0)
    if dry_run:
        return {"open": sum(1 for _ in _open(context, watch))}
    push = Push(context)
    for notification_id in _open(context, watch):
        summary[push.attempt(notification_id)] += 1
    return summary


def _open(context: Context, watch: Stopwatch) -> Iterator[UUID]:
    after = UUID(int=0)
    while not watch.is_over:
        with context.engine.connect() as conn:
            ids = [row.id for row in conn.execute(_OPEN, {"after": after})]
        yield from ids
        if not ids:
            return
        after = ids[-1]
