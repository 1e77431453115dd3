"""Sends notifications to the devices of their recipients.

The queue may deliver a notification more than once, and two workers may hold it at the same time. So it is
claimed first, and it remembers the devices that have it. Messages delivered or read in the meantime are
left out. One that was sent is sent once more if a message in it is unsent, to devices that replace what they
show.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row

from functions import notifications
from functions.backoff import FIRST_S, backoff_s
from functions.channels.channel import Channel, Device, Notice
from functions.channels.factory import make_channels
from functions.context import Context, Summary
from functions.data_errors import is_data_error
from functions.devices import read_devices, read_time_zone
from functions.digest import OpenChat, digest, farewell, read_open_chats, read_unread
from functions.errors import TriesExhausted, TryLater
from functions.fan_out import DeviceOutcomes, FanOut
from functions.pacer import Pacer
from functions.quiet_hours import quiet_until
from infra.settings.templates import Templates, load_languages
from infra.settings.time_zones import time_zone_or

log = structlog.get_logger(__name__)

_LOG_DEVICE_ID: Final = UUID(int=0)
_OUTDATED_S: Final = 1.0
"""When to send a notification again if a message was unsent while it was sent."""
_OUTCOMES: Final = ("sent", "obsolete", "no_device", "quiet", "later", "failed", "unknown", "crashed")


class Push:
    """Sends one notification at a time."""

    def __init__(self, context: Context, channels: Mapping[str, Channel] | None = None) -> None:
        self._engine = context.engine
        self._settings = context.settings
        self._languages = load_languages(context.settings.notification_texts)
        self._fan_out = FanOut(
            context.engine, make_channels(context.settings) if channels is None else channels
        )

    def deliver(self, notification_id: UUID) -> str:
        """Send a notification to all devices that do not have it as it is now, and return its outcome.

        This is `sent` (at least one device has it), `obsolete`, `no_device`, `failed` (every device refuses
        it), `quiet` (`offline_delivery` queues it again after the quiet hours), or `unknown` if there is no
        such notification. Raises TryLater, TriesExhausted and sqlalchemy.exc.SQLAlchemyError.
        """
        with self._engine.begin() as conn:
            claimed = notifications.claim(conn, notification_id)
            if claimed is None:
                return self._outcome(conn, notification_id)
            if until := self._quiet_until(conn, claimed):
                notifications.defer(conn, notification_id, until)
                return "quiet"
            chats = read_open_chats(conn, notification_id)
            devices = self._devices(conn, claimed, chats)
            unread = read_unread(conn, claimed.user_id)
        if not chats and not devices:
            return self._finish(claimed, claimed.outcome or "obsolete", {})

        @cache
        def compose(language: str | None) -> Notice:
            return self._notice(claimed, chats, unread, self._languages.find(language))

        outcomes = self._fan_out.send(compose, devices, claimed)
        if outcomes.only_rested or (outcomes.failures and claimed.tries < self._settings.push_tries):
            raise self._give_back(claimed, outcomes)
        return self._conclude(claimed, outcomes)

    def attempt(self, notification_id: UUID) -> str:
        """Do the same for a queue that does not retry by itself. Return `later` or `crashed` as well.

        A notification whose data cannot be handled has crashed: it is queued again, and becomes a dead letter
        after a day. Raises SettingsError and sqlalchemy.exc.SQLAlchemyError.
        """
        try:
            return self.deliver(notification_id)
        except TryLater as failure:
            with self._engine.begin() as conn:
                notifications.requeue(conn, notification_id, failure.after_s or FIRST_S)
            return "later"
        except TriesExhausted:
            return "failed"
        except Exception as error:
            if not is_data_error(error):
                raise
            log.error("notification_crashed", notification=str(notification_id), error=type(error).__name__)
            return "crashed"

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

    def _devices(self, conn: Connection, claimed: Row[Any], chats: Sequence[OpenChat]) -> list[Device]:
        """Return the devices to send to: all, or those that only have to replace what they show."""
        if not chats and not claimed.to_replace:
            return []
        devices = read_devices(conn, claimed.user_id)
        if not chats or claimed.outcome == "sent":
            return self._fan_out.to_replace(devices, claimed)
        if self._settings.push_log:
            devices.append(Device(_LOG_DEVICE_ID, claimed.user_id, "log", "stderr"))
        return devices

    def _notice(
        self, claimed: Row[Any], chats: Sequence[OpenChat], unread: int, templates: Templates
    ) -> Notice:
        if not chats:
            return farewell(claimed.id, claimed.chat_ids, unread=unread, templates=templates)
        hide_texts = self._settings.hide_texts
        return digest(claimed.id, chats, unread=unread, hide_texts=hide_texts, templates=templates)

    def _give_back(self, claimed: Row[Any], outcomes: DeviceOutcomes) -> TryLater:
        """Give up the claim, because devices must be tried again. Return what to raise."""
        asked_s = [failure.after_s for failure in outcomes.failures if failure.after_s is not None]
        after_s = backoff_s(claimed.tries, asked_s)
        with self._engine.begin() as conn:
            notifications.release(conn, claimed.id, after_s, is_try=not outcomes.only_rested)
        return TryLater(outcomes.reasons, after_s)

    def _conclude(self, claimed: Row[Any], outcomes: DeviceOutcomes) -> str:
        """Finish a notification after its last try, and return its outcome. Raises TriesExhausted."""
        if claimed.sent_to or outcomes.counts["sent"]:
            return self._finish(claimed, "sent", outcomes.counts)
        if not outcomes.reasons:
            return self._finish(claimed, "no_device", outcomes.counts)
        error = f"tried {claimed.tries} times: {outcomes.reasons}"
        with self._engine.begin() as conn:
            notifications.fail(conn, claimed.id, error, self._settings.subscriptions)
        self._log_finished(claimed.id, "failed", outcomes.counts)
        if outcomes.failures:
            raise TriesExhausted(error)
        return "failed"  # a queue that tries again by itself must not

    def _finish(self, claimed: Row[Any], outcome: str, devices: Mapping[str, int]) -> str:
        """Finish a notification, and return its outcome. Raises TryLater if it is out of date by now."""
        with self._engine.begin() as conn:
            is_finished = notifications.finish(conn, claimed, outcome)
            if not is_finished:
                notifications.release(conn, claimed.id, _OUTDATED_S)
        if not is_finished:
            raise TryLater("a message was unsent meanwhile", _OUTDATED_S)
        self._log_finished(claimed.id, outcome, devices)
        return outcome

    @staticmethod
    def _log_finished(notification_id: UUID, outcome: str, devices: Mapping[str, int]) -> None:
        counts = {f"devices_{name}": count for name, count in devices.items()}
        log.info("notification_finished", notification=str(notification_id), outcome=outcome, **counts)


def push_open(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
    """Send all open notifications now, without waiting for the queue.

    Returns how many ended with each outcome. Raises SettingsError and sqlalchemy.exc.SQLAlchemyError.
    """
    if dry_run:
        return {"open": sum(1 for _ in _open(context, pacer))}
    summary = dict.fromkeys(_OUTCOMES, 0)
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
