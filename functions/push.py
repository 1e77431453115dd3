"""Sends notifications to the devices of their recipients.

The queue may deliver a notification more than once, and two workers may hold it at the same time. So it is
claimed first, and it remembers the devices that have it. Messages delivered or read in the meantime are
left out.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row

from functions import notifications
from functions.backoff import FIRST_S, backoff_s
from functions.channels.channel import Channel, Device, Notice
from functions.channels.factory import make_channels
from functions.context import Context, Summary
from functions.devices import read_devices, read_time_zone, remove_device, set_endpoint
from functions.digest import digest, read_open_chats
from functions.errors import DeviceGone, TriesExhausted, TryLater
from functions.pacer import Pacer
from functions.quiet_hours import quiet_until
from infra.settings.time_zones import time_zone_or

log = structlog.get_logger(__name__)

_SENDING_S = 20.0
"""After this time, a try does not start on another device."""
_LOG_DEVICE_ID: Final = UUID(int=0)


class Push:
    """Sends one notification at a time."""

    def __init__(self, context: Context, channels: Mapping[str, Channel] | None = None) -> None:
        self._engine = context.engine
        self._settings = context.settings
        self._channels = make_channels(context.settings) if channels is None else channels

    def deliver(self, notification_id: UUID) -> str:
        """Send a notification to all devices that do not have it yet, and return its outcome.

        This is `sent`, `obsolete`, `no_device`, `quiet` (`offline_delivery` queues it again after the quiet
        hours), or `unknown` if there is no such notification. Raises TryLater, TriesExhausted and
        sqlalchemy.exc.SQLAlchemyError.
        """
        with self._engine.begin() as conn:
            claimed = notifications.claim(conn, notification_id)
            if claimed is None:
                return self._outcome(conn, notification_id)
            if until := self._quiet_until(conn, claimed):
                notifications.defer(conn, notification_id, until)
                return "quiet"
            chats = read_open_chats(conn, notification_id)
            devices = self._devices(conn, claimed.user_id) if chats else []
        if not chats:
            return self._finish(notification_id, "obsolete")
        notice = digest(notification_id, chats, hide_texts=self._settings.hide_texts)
        reached, failures = self._send_to_all(notice, devices, claimed)
        if failures:
            raise self._give_back(claimed, failures)
        return self._finish(notification_id, "sent" if reached else "no_device")

    def attempt(self, notification_id: UUID) -> str:
        """Do the same for a queue that does not retry by itself. Return `later` or `failed` as well.

        Raises sqlalchemy.exc.SQLAlchemyError.
        """
        try:
            return self.deliver(notification_id)
        except TryLater as failure:
            with self._engine.begin() as conn:
                notifications.requeue(conn, notification_id, failure.after_s or FIRST_S)
            return "later"
        except TriesExhausted:
            return "failed"

    def _outcome(self, conn: Connection, notification_id: UUID) -> str:
        outcome = notifications.read_outcome(conn, notification_id)
        if outcome in (None, "failed"):
            raise TryLater("another worker holds it")
        return str(outcome)

    def _quiet_until(self, conn: Connection, claimed: Row[Any]) -> datetime | None:
        """Return the end of the recipient's quiet hours if a late notification falls into them."""
        if self._settings.quiet_hours is None:
            return None
        zone = time_zone_or(read_time_zone(conn, claimed.user_id), self._settings.time_zone)
        return quiet_until(self._settings.quiet_hours, zone, claimed.now)

    def _devices(self, conn: Connection, user_id: UUID) -> list[Device]:
        devices = read_devices(conn, user_id)
        if self._settings.push_log:
            devices.append(Device(_LOG_DEVICE_ID, user_id, "log", "stderr"))
        return devices

    def _send_to_all(
        self, notice: Notice, devices: list[Device], claimed: Row[Any]
    ) -> tuple[int, list[TryLater]]:
        """Return how many devices have the notification now, and why others must be tried again."""
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
                    reached += self._send(channel, device, notice, claimed.now)
                except TryLater as failure:
                    failures.append(failure)
        return reached, failures

    def _send(self, channel: Channel, device: Device, notice: Notice, read_at: datetime) -> bool:
        """Send to one device. Return False if it is gone. Raises TryLater and SQLAlchemyError."""
        try:
            endpoint = channel.send(device, notice)
        except DeviceGone:
            log.info("device_removed", device=str(device.id), channel=device.channel)
            with self._engine.begin() as conn:
                remove_device(conn, device, read_at)
            return False
        except TryLater as failure:
            log.warning("push_failed", device=str(device.id), channel=device.channel, error=str(failure))
            raise
        except Exception as error:  # a bug in a channel must not keep the notification open forever
            log.error("channel_crashed", channel=device.channel, error=type(error).__name__)
            raise TryLater(f"{device.channel}: {type(error).__name__}") from None
        with self._engine.begin() as conn:
            notifications.note_sent(conn, notice.id, device.id)
            if endpoint is not None and endpoint != device.endpoint:
                set_endpoint(conn, device, endpoint)
        return True

    def _give_back(self, claimed: Row[Any], failures: list[TryLater]) -> TryLater | TriesExhausted:
        """Give up the claim after failures. Return what to raise."""
        reason = "; ".join(sorted({str(failure) for failure in failures}))
        if claimed.tries >= self._settings.push_tries:
            error = f"tried {claimed.tries} times: {reason}"
            with self._engine.begin() as conn:
                notifications.fail(conn, claimed.id, error)
            self._log_finished(claimed.id, "failed")
            return TriesExhausted(error)
        asked_s = [failure.after_s for failure in failures if failure.after_s is not None]
        after_s = backoff_s(claimed.tries, asked_s)
        with self._engine.begin() as conn:
            notifications.release(conn, claimed.id, after_s)
        return TryLater(reason, after_s)

    def _finish(self, notification_id: UUID, outcome: str) -> str:
        with self._engine.begin() as conn:
            notifications.finish(conn, notification_id, outcome)
        self._log_finished(notification_id, outcome)
        return outcome

    @staticmethod
    def _log_finished(notification_id: UUID, outcome: str) -> None:
        log.info("notification_finished", notification=str(notification_id), outcome=outcome)


def push_open(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
    """Send all open notifications now, without waiting for the queue.

    Returns how many ended with each outcome. Raises SettingsError and sqlalchemy.exc.SQLAlchemyError.
    """
    if dry_run:
        return {"open": sum(1 for _ in _open(context, pacer))}
    summary = dict.fromkeys(("sent", "obsolete", "no_device", "quiet", "later", "failed", "unknown"), 0)
    push = Push(context)
    for notification_id in _open(context, pacer):
        summary[push.attempt(notification_id)] += 1
    return summary


def _open(context: Context, pacer: Pacer) -> Iterator[UUID]:
    after = UUID(int=0)
    while not pacer.out_of_time:
        with context.engine.connect() as conn:
            ids = notifications.read_open(conn, after)
        yield from ids
        if not ids:
            return
        after = ids[-1]
