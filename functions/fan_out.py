"""Sends one notice to all devices of a user. What becomes of one device does not concern the others."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy import Engine, Row

from functions import metrics, notifications
from functions.backoff import backoff_s
from functions.channels.channel import Channel, Device, Notice
from functions.devices import remove_device, set_endpoint
from functions.errors import ChannelMisconfigured, DeviceGone, NoticeRefused, ServiceBusy, TryLater

log = structlog.get_logger(__name__)

_SENDING_S = 20.0
"""After this time, a try does not start on another device."""


@dataclass(slots=True)
class DeviceOutcomes:
    """What became of the devices of one try."""

    counts: Counter[str] = field(default_factory=Counter)
    """How many are `sent`, `gone`, `refused`, `later` or `not_configured`."""
    failures: list[TryLater] = field(default_factory=list)
    """Why some must be tried again."""
    refusals: list[NoticeRefused] = field(default_factory=list)
    """Why it is no use to try others again."""

    @property
    def only_rested(self) -> bool:
        """Return whether the devices that are left were not tried, because their services are busy."""
        return bool(self.failures) and all(isinstance(error, Resting) for error in self.failures)

    @property
    def reasons(self) -> str:
        """Return why the notice did not reach devices, without addresses."""
        return "; ".join(sorted({str(error) for error in (*self.failures, *self.refusals)}))


@dataclass(frozen=True, slots=True)
class _Rest:
    """The pause of a channel that is busy."""

    until: float
    times: int
    """How often in a row it was busy."""


class FanOut:
    """Sends notices through `channels`, and records what became of each device."""

    def __init__(self, engine: Engine, channels: Mapping[str, Channel]) -> None:
        self._engine = engine
        self._channels = channels
        self._reported: set[str] = set()
        self._rests: dict[str, _Rest] = {}

    def send(
        self, compose: Callable[[str | None], Notice], devices: Iterable[Device], claimed: Row[Any]
    ) -> DeviceOutcomes:
        """Send a notice to the devices that neither have it nor refused it, or that must replace theirs.

        `compose` puts it into the language of a device. A channel whose service is busy is left alone for as
        long as the service asks, and longer each time: its devices are `later` without being tried. Raises
        sqlalchemy.exc.SQLAlchemyError.
        """
        outcomes = DeviceOutcomes()
        began = time.monotonic()
        for device in devices:
            try:
                if device.id in claimed.refused_by:
                    raise NoticeRefused(f"{device.channel}: refused before")
                if device.id not in claimed.sent_to or self._must_replace(device, claimed):
                    in_time = time.monotonic() - began <= _SENDING_S
                    self._send(device, compose(device.language), claimed, in_time=in_time)
                outcome = "sent"
            except DeviceGone:
                outcome = "gone"
            except _NotConfigured:
                outcome = "not_configured"
            except NoticeRefused as refusal:
                outcome = "refused"
                outcomes.refusals.append(refusal)
            except TryLater as failure:
                outcome = "later"
                outcomes.failures.append(failure)
            outcomes.counts[outcome] += 1
            metrics.NOTIFICATIONS.labels(device.channel, outcome).inc()
        return outcomes

    def to_replace(self, devices: Iterable[Device], claimed: Row[Any]) -> list[Device]:
        """Return the devices that show what was unsent, and whose channel can replace it."""
        return [device for device in devices if self._must_replace(device, claimed)]

    def _must_replace(self, device: Device, claimed: Row[Any]) -> bool:
        channel = self._channels.get(device.channel)
        return device.id in claimed.to_replace and channel is not None and channel.replaces

    def _send(self, device: Device, notice: Notice, claimed: Row[Any], *, in_time: bool) -> None:
        """Send to one device, and record and log what became of it. Raises the errors of `send` above."""
        channel = self._channels.get(device.channel)
        if channel is None:
            log.warning("channel_not_configured", channel=device.channel)
            raise _NotConfigured
        if not in_time:
            raise TryLater("there was no time left")
        self._check_rest(device.channel)
        is_replacement = device.id in claimed.sent_to
        try:
            endpoint = channel.send(device, replace(notice, is_replacement=is_replacement))
        except DeviceGone:
            log.info("device_removed", device=str(device.id), channel=device.channel)
            with self._engine.begin() as conn:
                remove_device(conn, device, claimed.now)
            raise
        except NoticeRefused as error:
            if isinstance(error, ChannelMisconfigured):
                self._report(device.channel, str(error))
            else:
                log.warning("push_refused", device=str(device.id), channel=device.channel, error=str(error))
            with self._engine.begin() as conn:
                notifications.note_refused(conn, notice.id, device.id)
            raise
        except TryLater as failure:
            if isinstance(failure, ServiceBusy):
                self._rest(device.channel, failure)
            log.warning("push_failed", device=str(device.id), channel=device.channel, error=str(failure))
            raise
        except Exception as error:  # a bug in a channel must not keep the notification open forever
            log.error("channel_crashed", channel=device.channel, error=type(error).__name__)
            raise TryLater(f"{device.channel}: {type(error).__name__}") from None
        self._rests.pop(device.channel, None)
        with self._engine.begin() as conn:
            note = notifications.note_replaced if is_replacement else notifications.note_sent
            note(conn, claimed, device.id)
            if endpoint is not None and endpoint != device.endpoint:
                set_endpoint(conn, device, endpoint)

    def _check_rest(self, channel: str) -> None:
        """Raise Resting while the service of a channel is to be left alone."""
        rest = self._rests.get(channel)
        left_s = rest.until - time.monotonic() if rest else 0.0
        if left_s > 0:
            raise Resting(f"{channel}: the service is busy", left_s)

    def _rest(self, channel: str, busy: ServiceBusy) -> None:
        rest = self._rests.get(channel)
        times = rest.times + 1 if rest else 1
        pause_s = backoff_s(times, [] if busy.after_s is None else [busy.after_s])
        self._rests[channel] = _Rest(time.monotonic() + pause_s, times)
        busy.after_s = pause_s

    def _report(self, channel: str, error: str) -> None:
        """Log an error once per process: it concerns every notification until somebody changes a setting."""
        if error not in self._reported:
            self._reported.add(error)
            log.error("channel_misconfigured", channel=channel, error=error)


class Resting(TryLater):
    """The device was not tried, because its service is busy."""


class _NotConfigured(Exception):
    """The settings do not enable the channel of the device."""
