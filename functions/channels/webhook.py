"""Notices for a team's own service, signed as Standard Webhooks (https://www.standardwebhooks.com)."""

from datetime import UTC, datetime

import requests
from standardwebhooks import Webhook

from functions.channels.channel import Device, Gone, Notice, TryLater
from functions.channels.outbound import Refused, retry_after_s
from functions.channels.payload import as_json, fields

_GONE = 410


class WebhookChannel:
    """Posts to any public https address. `secret` is `whsec_` and base64; raises ValueError if it is not."""

    def __init__(self, session: requests.Session, secret: str) -> None:
        self._session = session
        try:
            self._webhook = Webhook(secret)
        except Exception:  # the library has one class of its own, and lets through those of base64
            raise ValueError("the webhook secret is not valid") from None

    def send(self, device: Device, notice: Notice) -> None:
        """Post it; tries of the same notice carry the same `webhook-id`. Raises Gone and TryLater."""
        try:
            response = self._post(device, notice)
        except Refused as refused:
            raise Gone(f"webhook: {refused}") from None
        except requests.RequestException as error:
            raise TryLater(f"webhook: {type(error).__name__}") from None
        if response.status_code == _GONE:
            raise Gone(f"webhook: status {_GONE}")
        if not 200 <= response.status_code < 300:
            raise TryLater(f"webhook: status {response.status_code}", retry_after_s(response))

    def _post(self, device: Device, notice: Notice) -> requests.Response:
        body = as_json({"type": "notification", "data": {"userId": str(device.user_id), **fields(notice)}})
        message_id, now = f"{notice.id}_{device.id}", datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message_id, now, body),
        }
        return self._session.post(device.address, data=body.encode(), headers=headers)
