"""One endpoint of the app's backend: posts events, signed as Standard Webhooks."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import msgspec
import requests
from standardwebhooks import Webhook

from functions.channels.outbound import make_session, retry_after_s
from functions.errors import AddressRefused, EventsRefused, TryLater
from infra.wire.webhooks import Delivery, Event

_DOWN: Final = frozenset({408, 425, 429, 502, 503, 504})
"""The statuses that say nothing of the events: all others that are no success refuse them."""

SessionFactory = Callable[[], requests.Session]


class Endpoint:
    """Where to post, and what signs it. Each call has a session of its own, so calls may run at once."""

    def __init__(self, url: str, secrets: Sequence[str], session: SessionFactory = make_session) -> None:
        self._url = url
        self._webhooks = [Webhook(secret) for secret in secrets]
        self._session = session

    def post(self, events: Sequence[Event]) -> None:
        """Post events in one request. The same events have the same `webhook-id` again.

        Raises EventsRefused, and TryLater if the endpoint is down.
        """
        body = msgspec.json.encode(Delivery(list(events))).decode()
        digest = sha256("\n".join(event.id for event in events).encode()).hexdigest()
        request_id, now = f"events_{digest[:32]}", datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": request_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(one.sign(request_id, now, body) for one in self._webhooks),
        }
        try:
            with self._session() as session:
                response = session.post(self._url, data=body.encode(), headers=headers)
        except AddressRefused as refused:
            raise TryLater(str(refused)) from None
        except (requests.RequestException, OSError) as error:
            raise TryLater(type(error).__name__) from None
        if response.status_code in _DOWN:
            raise TryLater(f"status {response.status_code}", retry_after_s(response))
        if not 200 <= response.status_code < 300:
            raise EventsRefused(f"status {response.status_code}")
