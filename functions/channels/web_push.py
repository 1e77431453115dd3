"""Sends push notifications to browsers (RFC 8030), encrypted (RFC 8291) and signed (VAPID, RFC 8292)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import ClassVar, Final

import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from py_vapid import Vapid, VapidException
from pywebpush import WebPushException, webpush

from functions.channels.channel import Device, Notice
from functions.channels.outbound import failure_of
from functions.channels.payload import compact_json, encode_within, fields
from functions.errors import AddressRefused, ChannelMisconfigured, DeviceGone, NoticeRefused, TryLater

TTL_S: Final = 86_400
"""How long the push service keeps a notice for a browser that is not running."""
_AUTH_BYTES = 16
_GONE_STATUSES: Final = frozenset({404, 410})
_NOT_OURS: Final = frozenset({401, 403})
"""The signature is wrong, or made with another key than that of the subscription (RFC 8292, 4.2)."""
_KEY_REFUSED: Final = _NOT_OURS | {400}
"""Some push services use 400 for another key."""


class WebPushChannel:
    """Posts to the push service of a browser.

    A browser accepts only the key that it was given when it subscribed. So while keys change, there are two:
    a subscription gets the first one that its push service accepts, which is then its endpoint.
    Keys are base64url or PEM, `subject` is a `mailto:` or `https:` address. Raises ValueError if one of them
    is invalid.
    """

    replaces: ClassVar = True

    def __init__(
        self, session: requests.Session, private_key: str, subject: str, previous_key: str | None = None
    ) -> None:
        self._session = session
        self._subject = subject
        try:
            vapid = _load(private_key)
            vapid.sign({"aud": "https://push.example", "sub": subject})
            self._keys = {_public_key(vapid): vapid}
        except (VapidException, ValueError, TypeError):
            raise ValueError("the VAPID key or its subject is invalid") from None
        if previous_key is not None:
            previous = load_key(previous_key)
            self._keys.setdefault(_public_key(previous), previous)

    def send(self, device: Device, notice: Notice) -> str | None:
        """Send a notice; it replaces an earlier try that is still waiting.

        Returns the key of the subscription while there are two. Raises DeviceGone, NoticeRefused,
        ChannelMisconfigured and TryLater.
        """
        if not _has_keys(device):
            raise DeviceGone("webpush: the keys are invalid")
        try:
            return self._send(device, notice)
        except AddressRefused as refused:
            raise DeviceGone(f"webpush: {refused}") from None
        except VapidException:
            raise DeviceGone("webpush: the address has no host to sign for") from None
        except requests.RequestException as error:
            raise TryLater(f"webpush: {type(error).__name__}") from None
        except WebPushException as failure:
            raise _translate(failure) from None

    def _send(self, device: Device, notice: Notice) -> str | None:
        """Send with one key after another, the known one first. Return it if there is a choice."""
        *others, last = sorted(self._keys, key=lambda key: key != device.endpoint)
        for key in others:
            try:
                self._post(device, notice, self._keys[key])
                return key
            except WebPushException as failure:
                if _status(failure) not in _KEY_REFUSED:
                    raise
        self._post(device, notice, self._keys[last])
        return last if others else None

    def _post(self, device: Device, notice: Notice, vapid: Vapid) -> None:
        webpush(
            {"endpoint": device.address, "keys": {"p256dh": device.p256dh, "auth": device.auth}},
            encode_within(notice, lambda shortened: compact_json(fields(shortened))),
            vapid_private_key=vapid,
            vapid_claims={"sub": self._subject},
            ttl=TTL_S,
            headers={"topic": notice.id.hex, "urgency": "normal"},
            requests_session=self._session,
        )


def load_key(private_key: str) -> Vapid:
    """Return a VAPID key. Raises ValueError, without quoting it."""
    try:
        return _load(private_key)
    except (VapidException, ValueError, TypeError):
        raise ValueError("it is not a VAPID key") from None


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


def _public_key(vapid: Vapid) -> str:
    """Return the public key as browsers are given it (`applicationServerKey`)."""
    point = vapid.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return urlsafe_b64encode(point).rstrip(b"=").decode()


def _status(failure: WebPushException) -> int | None:
    return failure.response.status_code if isinstance(failure.response, requests.Response) else None


def _translate(failure: WebPushException) -> DeviceGone | NoticeRefused | TryLater:
    status = _status(failure)
    if status is None:
        return TryLater("webpush: not sent")
    if status in _GONE_STATUSES:
        return DeviceGone(f"webpush: status {status}")
    if status in _NOT_OURS:
        return ChannelMisconfigured(f"webpush: status {status}, the VAPID key is not accepted")
    return failure_of("webpush", failure.response)
