"""The interface that every channel has, and how sending can fail."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Device:
    """Where to send to: a row of the table `devices`."""

    id: UUID
    user_id: UUID
    channel: str
    address: str
    p256dh: str | None = None
    auth: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notification says. It may hold a message text: it belongs in no log."""

    id: UUID
    """The same each time it is tried, so that a receiver can tell a repetition."""
    title: str
    body: str
    count: int
    """How many messages it is about."""
    senders: tuple[str, ...]
    """User names, newest first."""
    chat_ids: tuple[UUID, ...]


class Gone(Exception):
    """The device will never work again: it is to be removed."""


class TryLater(Exception):
    """It did not work this time. `after_s` is set when the other side has named a pause."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Channel(Protocol):
    """Sends notices to devices of one kind."""

    def send(self, device: Device, notice: Notice) -> str | None:
        """Send; return the endpoint to remember for the device, if the channel has one.

        Raises Gone and TryLater.
        """
        ...
