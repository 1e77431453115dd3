"""What the app's own backend can hear of: the events of webhooks, and the body of a request."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

MESSAGE_CREATED: Final = "message.created"
MESSAGE_CHANGED: Final = "message.changed"
MESSAGE_DELIVERED: Final = "message.delivered"
MESSAGE_READ: Final = "message.read"
CHAT_CREATED: Final = "chat.created"
REPORT_CREATED: Final = "report.created"
NOTIFICATION_FAILED: Final = "notification.failed"
USER_ONLINE: Final = "user.online"
USER_OFFLINE: Final = "user.offline"

USUAL: Final = (
    MESSAGE_CREATED,
    MESSAGE_CHANGED,
    MESSAGE_DELIVERED,
    MESSAGE_READ,
    CHAT_CREATED,
    REPORT_CREATED,
    NOTIFICATION_FAILED,
)
"""The events of an endpoint that names none."""
EVENTS: Final = (*USUAL, USER_ONLINE, USER_OFFLINE)
"""All events. Those about presence are many, so an endpoint must name them."""

Subscriptions = Mapping[str, Sequence[str]]
"""The names of the endpoints that get each event. Events that nobody wants have no entry."""


class Event(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A fact, as it was when it was committed."""

    id: str
    """The same whenever the event is sent."""
    type: str
    number: int
    """Grows from each event of a chat to the next one. There are holes."""
    created_at: str
    """When it was committed."""
    data: msgspec.Raw
    is_test: bool = False
    """Whether an operator only tries the endpoint."""


class Delivery(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a request: events, those of each chat in order."""

    events: list[Event]
