"""Settings of webhooks, which workers and functions share."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from infra.settings.base import Settings
from infra.settings.values import Words
from infra.wire.webhooks import EVENTS, USUAL, Subscriptions

_ENDPOINT: Final = re.compile(r"(?P<name>[a-z0-9_-]{1,40})(?:\s*:\s*(?P<events>[a-z. ]+))?")


def _endpoints(value: tuple[str, ...]) -> tuple[str, ...]:
    names = set()
    for entry in value:
        found = _ENDPOINT.fullmatch(entry)
        if found is None:
            raise ValueError(
                "must look like app:message.created chat.created,audit; names consist of lowercase letters, "
                "digits, - and _"
            )
        if found["name"] in names:
            raise ValueError(f"names {found['name']} twice")
        names.add(found["name"])
        for event in (found["events"] or "").split():
            if event not in EVENTS:
                raise ValueError(f"names the event {event}; there are {', '.join(EVENTS)}")
    return value


class WebhookSettings(Settings):
    """Which endpoints of the app hear of what."""

    webhooks: Annotated[Words, AfterValidator(_endpoints)] = ()
    """[Webhooks](webhooks.md): names of endpoints of the app, each with the events that it gets, like
    `app:message.created chat.created,audit`; one without events gets all but those about presence. Workers
    and functions must have the same."""

    @property
    def subscriptions(self) -> Subscriptions:
        """The endpoints that get each event."""
        wanted: dict[str, list[str]] = {}
        for entry in self.webhooks:
            name, _, events = entry.partition(":")
            for event in events.split() or USUAL:
                wanted.setdefault(event, []).append(name.strip())
        return wanted

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of all endpoints."""
        return tuple(entry.partition(":")[0].strip() for entry in self.webhooks)
