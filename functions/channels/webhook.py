"""Posts notices to the team's own service, signed as Standard Webhooks (https://www.standardwebhooks.com)."""

from datetime import UTC, datetime
from typing import ClassVar

import requests
from standardwebhooks import Webhook

from functions.channels.channel import Device, Notice
from functions.channels.outbound import failure_of
from functions.channels.payload import compact_json, fields
from functions.errors import AddressRefused, DeviceGone, TryLater

_GONE_STATUS = 410


class WebhookChannel:
    """Posts to any public https address. Raises ValueError if `secret` is not `whsec_` and base64."""

    replaces: ClassVar = False

    def __init__(self, session: requests.Session, secret: str) -> None:
        self._session = session
        try:
            self._webhook = Webhook(secret)
        except Exception:  # the library raises its own errors and those of base64
            raise ValueError("the webhook secret is invalid") from None

    def send(self, device: Device, notice: Notice) -> None:
        """Post a notice; every try has the same `webhook-id`.

        Raises DeviceGone, NoticeRefused and TryLater.
        """
        try:
            response = self._post(device, notice)
        except AddressRefused as refused:
            raise DeviceGone(f"webhook: {refused}") from None
        except requests.RequestException as error:
            raise TryLater(f"webhook: {type(error).__name__}") from None
        if response.status_code == _GONE_STATUS:
            raise DeviceGone(f"webhook: status {_GONE_STATUS}")
        if not 200 <= response.status_code < 300:
            raise failure_of("webhook", response)

    def _post(self, device: Device, notice: Notice) -> requests.Response:
        body = compact_json(
            {"type": "notification", "data": {"userId": str(device.user_id), **fields(notice)}}
        )
        message_id, now = f"{notice.id}_{device.id}", datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message_id, now, body),
        }
        return self._session.post(device.address, data=body.encode(), headers=headers)
