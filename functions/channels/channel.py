"""The interface that every channel implements, and what it sends where."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Device:
    """Where to send a notification: a row of the table `devices`."""

    id: UUID
    user_id: UUID
    channel: str
    address: str
    p256dh: str | None = None
    auth: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notification says. It may hold the text of a message, so it must not be logged."""

    id: UUID
    """The same on every try, so that a receiver recognizes a repetition."""
    title: str
    body: str
    count: int
    """How many messages it covers."""
    senders: tuple[str, ...]
    """User names, newest first."""
    chat_ids: tuple[UUID, ...]


class Channel(Protocol):
    """Sends notices to devices of one kind."""

    def send(self, device: Device, notice: Notice) -> str | None:
        """Send a notice. Return the endpoint to remember for the device, if the channel has endpoints.

        Raises DeviceGone, NoticeRefused, ChannelMisconfigured and TryLater.
        """
        ...
