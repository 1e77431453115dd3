"""What handlers need besides a connection: limits, and a view of who is online."""

from dataclasses import dataclass

from infra.presence import Presence
from infra.wire.commands import CHANNELS


@dataclass(frozen=True, slots=True)
class Rules:
    """The configured limits and the presence port that handlers share."""

    presence: Presence
    provision_profiles: bool
    text_chars: int
    page: int
    page_max: int
    sweep_after_s: float
    device_channels: tuple[str, ...] = CHANNELS
    devices_max: int = 20
    patient: bool = True
    """Whether to wait for rows that somebody else has locked, or to answer `unavailable`."""

    def page_size(self, asked: int | None) -> int:
        """Return how many messages or chats a page has."""
        return self.page if asked is None else min(asked, self.page_max)
