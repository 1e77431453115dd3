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
    language: str | None = None
    """BCP 47 tag."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notification says. It may hold the text of a message, so it must not be logged."""

    id: UUID
    """The same on every try, so that a receiver recognizes a repetition."""
    title: str
    body: str
    count: int
    """How many messages it covers; none if all that it covered are gone."""
    senders: tuple[str, ...]
    """User names, newest first."""
    chat_ids: tuple[UUID, ...]
    unread: int
    """How many messages the recipient has not read in all chats that count, whatever the notice covers."""
    is_replacement: bool = False
    """Whether it takes the place of one that was sent, of which a message has been unsent."""


class Channel(Protocol):
    """Sends notices to devices of one kind."""

    @property
    def replaces(self) -> bool:
        """Whether a notice takes the place of an earlier one with the same id that a device still shows."""
        ...

    def send(self, device: Device, notice: Notice) -> str | None:
        """Send a notice. Return the endpoint to remember for the device, if the channel has endpoints.

        Raises DeviceGone, NoticeRefused, ChannelMisconfigured and TryLater.
        """
        ...
