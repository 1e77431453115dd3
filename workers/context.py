"""What handlers receive besides a connection and requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.presence import PresenceReader, SignOuts
from infra.wire.errors import Rejection
from infra.wire.webhooks import Subscriptions


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """The configured limits, who is online, and whether to wait for locked rows."""

    presence: PresenceReader
    sign_outs: SignOuts
    provision_profiles: bool
    """Whether a user without a profile gets one, with the username in their token."""
    text_chars: int
    """Most characters in a message."""
    edit_s: int
    """For how many seconds after it was sent a message can be edited; 0 forbids it."""
    unsend_s: int
    """For how many seconds after it was sent a message can be taken back; 0 forbids it."""
    page: int
    """Messages or chats per page, unless the client asks for another number."""
    page_max: int
    """Most messages or chats per page."""
    sweep_after_s: float
    """How many seconds after a send the sweep checks that the message was delivered."""
    device_channels: tuple[str, ...]
    """Channels for which devices can be registered."""
    devices_max: int
    """Most devices per user."""
    webhooks: Subscriptions = field(default_factory=dict)
    """The endpoints of the app's backend that hear of each event."""
    refusals: Mapping[str, Rejection] = field(default_factory=dict)
    """Why requests of this batch must not be carried out, whatever else allows it."""
    patient: bool = True
    """Whether to wait for rows that others have locked. If not, requests that need them are rejected."""

    def page_size(self, asked: int | None) -> int:
        """Return how many messages or chats a page has."""
        return self.page if asked is None else min(asked, self.page_max)
