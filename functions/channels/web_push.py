"""Sends push notifications to browsers (RFC 8030), encrypted (RFC 8291) and signed (VAPID, RFC 8292)."""

from base64 import urlsafe_b64decode
from typing import Final

import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from py_vapid import Vapid, VapidException
from pywebpush import WebPushException, webpush

from functions.channels.channel import Device, Notice
from functions.channels.outbound import retry_after_s
from functions.channels.payload import compact_json, encode_within, fields
from functions.errors import AddressRefused, DeviceGone, TryLater

TTL_S: Final = 86_400
"""How long the push service keeps a notice for a browser that is not running."""
_AUTH_BYTES = 16
_GONE_STATUSES = frozenset({404, 410})


class WebPushChannel:
    """Posts to the push service of a browser.

    `private_key` is base64url or PEM, `subject` is a `mailto:` or `https:` address. Raises ValueError if
    either is invalid.
    """

    def __init__(self, session: requests.Session, private_key: str, subject: str) -> None:
        self._session = session
        self._subject = subject
        try:
            self._vapid = _load(private_key)
            self._vapid.sign({"aud": "https://push.example", "sub": subject})
        except (VapidException, ValueError, TypeError):
            raise ValueError("the VAPID key or its subject is invalid") from None

    def send(self, device: Device, notice: Notice) -> None:
        """Send a notice; it replaces an earlier try that is still waiting. Raises DeviceGone and TryLater."""
        if not _has_keys(device):
            raise DeviceGone("webpush: the keys are invalid")
        try:
            self._post(device, notice)
        except AddressRefused as refused:
            raise DeviceGone(f"webpush: {refused}") from None
        except VapidException:
            raise DeviceGone("webpush: the address has no host to sign for") from None
        except requests.RequestException as error:
            raise TryLater(f"webpush: {type(error).__name__}") from None
        except WebPushException as failure:
            raise _translate(failure) from None

    def _post(self, device: Device, notice: Notice) -> None:
        webpush(
            {"endpoint": device.address, "keys": {"p256dh": device.p256dh, "auth": device.auth}},
            encode_within(notice, lambda shortened: compact_json(fields(shortened))),
            vapid_private_key=self._vapid,
            vapid_claims={"sub": self._subject},
            ttl=TTL_S,
            headers={"topic": notice.id.hex, "urgency": "normal"},
            requests_session=self._session,
        )


def _load(private_key: str) -> Vapid:
    if "-----BEGIN" in private_key:
        pem = private_key.replace("\\n", "\n").encode()  # a PEM that was put on one line
        vapid = Vapid(load_pem_private_key(pem, password=None))
    else:
        vapid = Vapid.from_string(private_key)
    key = vapid.private_key
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError
    return vapid


def _has_keys(device: Device) -> bool:
    """Return whether notices can be encrypted with the keys of the browser."""
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _decode(device.p256dh or ""))
        return len(_decode(device.auth or "")) == _AUTH_BYTES
    except ValueError:
        return False


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))


def _translate(failure: WebPushException) -> DeviceGone | TryLater:
    response = failure.response
    if not isinstance(response, requests.Response):
        return TryLater("webpush: not sent")
    reason = f"webpush: status {response.status_code}"
    return (
        DeviceGone(reason)
        if response.status_code in _GONE_STATUSES
        else TryLater(reason, retry_after_s(response))
    )
