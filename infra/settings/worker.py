"""Settings of `workers`, beat included."""

from typing import Annotated

from pydantic import AfterValidator

from infra.settings.base import AtMost
from infra.settings.changes import ChangeSettings
from infra.settings.hook import HookSettings
from infra.settings.service import ServiceSettings
from infra.settings.store import StoreSettings
from infra.settings.values import Count, Seconds, Words
from infra.settings.webhooks import WebhookSettings
from infra.wire.commands import CHANNELS


def _channels(value: tuple[str, ...]) -> tuple[str, ...]:
    if not set(value) <= set(CHANNELS):
        raise ValueError(f"must name some of {', '.join(CHANNELS)}, separated by commas")
    return value


class WorkerSettings(ServiceSettings, StoreSettings, ChangeSettings, WebhookSettings, HookSettings):
    """Settings of workers and beat."""

    relations = (AtMost("page", "page_max", because="the default page would be larger than the largest"),)

    provision_profiles: bool = False
    """Create a profile from the token's `user_metadata.username` for a user who has none."""
    text_chars: Count = 4_000
    """Longest text of a message, in Unicode code points."""
    page: Count = 50
    """Messages or chats in a page unless the client asks for another number."""
    page_max: Count = 100
    """Largest page that a client can ask for."""
    sweep_s: Seconds = 5.0
    """How often the sweep runs."""
    sweep_after_s: Seconds = 10.0
    """The sweep checks a delivery once it has been unconfirmed for this long."""
    device_channels: Annotated[Words, AfterValidator(_channels)] = ("fcm", "apns", "webpush")
    """Channels that clients may register devices for, separated by commas; nothing verifies that an `email`
    or `webhook` address belongs to the user."""
    devices_max: Count = 20
    """Devices that one user can register; the next one replaces the one registered longest ago."""
    beat_functions: bool = True
    """Beat schedules the functions; `false` where AWS Lambda runs them."""
