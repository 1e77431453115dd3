"""Sends push notifications to Apple devices through APNs, over HTTP/2 with a signed token.

Follows "Sending notification requests to APNs", "Establishing a token-based connection to APNs" and "Handling
notification responses from APNs" (https://developer.apple.com/documentation/usernotifications).
"""

import re
import time
from typing import ClassVar, Final

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from functions.channels.channel import Device, Notice
from functions.channels.payload import encode_within
from functions.channels.phones import apns_payload
from functions.errors import ChannelMisconfigured, DeviceGone, NoticeRefused, ServiceBusy, TryLater

URL: Final = "https://api.push.apple.com"
SANDBOX_URL: Final = "https://api.sandbox.push.apple.com"
_TOKEN_AGE_S: Final = 2_400.0
"""Apple takes a provider token for an hour, and no new one within 20 minutes."""
_RENEWAL_S: Final = 1_200.0
_KEPT_S: Final = 28 * 86_400
"""How long APNs keeps a notice for a device that is off; as long as Amazon SNS asks for."""
_TOKEN = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_UNLIKE_OURS: Final = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})
"""The token is not of this app, or not of this environment. A wrong setting looks the same."""
_MISCONFIGURED: Final = frozenset({"BadTopic", "MissingTopic", "TopicDisallowed"})
_BUSY: Final = frozenset({"ServiceUnavailable", "TooManyProviderTokenUpdates"})
_EXPIRED: Final = "ExpiredProviderToken"


class ProviderToken:
    """The token that says who we are (ES256), made anew between 20 and 60 minutes after the last one.

    `key` is the PEM of Apple's `.p8` file. Raises ValueError, without quoting it, if it is another one.
    """

    def __init__(self, key: str, key_id: str, team_id: str) -> None:
        self._key = _load(key)
        self._key_id = key_id
        self._team_id = team_id
        self._token: str | None = None
        self._made_at = 0.0
        self._renewed_at = float("-inf")

    def get(self) -> str:
        """Return the token."""
        now = time.time()
        if self._token is None or not 0 <= now - self._made_at < _TOKEN_AGE_S:
            claims, headers = {"iss": self._team_id, "iat": int(now)}, {"kid": self._key_id}
            self._token = jwt.encode(claims, self._key, "ES256", headers)
            self._made_at = now
        return self._token

    def renew(self) -> bool:
        """Drop a token that has expired early. Return False if that was tried less than 20 minutes ago."""
        if time.monotonic() - self._renewed_at < _RENEWAL_S:
            return False
        self._renewed_at = time.monotonic()
        self._token = None
        return True


class ApnsChannel:
    """Posts to APNs for the app `topic`. `client` must speak HTTP/2."""

    replaces: ClassVar = True

    def __init__(self, client: httpx.Client, token: ProviderToken, topic: str, url: str = URL) -> None:
        self._client = client
        self._token = token
        self._topic = topic
        self.url = url
        self._is_proven = False
        """Whether a device has accepted a notice, so that topic and environment are right."""

    def send(self, device: Device, notice: Notice) -> None:
        """Send a notice; it replaces an earlier one with the same id.

        Raises DeviceGone, NoticeRefused, ChannelMisconfigured and TryLater.
        """
        if not _TOKEN.fullmatch(device.address):
            raise DeviceGone("apns: the token is not hexadecimal")
        response = self._post(device.address, notice)
        if not response.is_success and _reason(response) == _EXPIRED and self._token.renew():
            response = self._post(device.address, notice)
        if not response.is_success:
            raise self._failure_of(response)
        self._is_proven = True

    def _post(self, token: str, notice: Notice) -> httpx.Response:
        headers = {
            "authorization": f"bearer {self._token.get()}",
            "apns-topic": self._topic,
            "apns-push-type": "alert",
            "apns-collapse-id": str(notice.id),
            "apns-expiration": str(int(time.time()) + _KEPT_S),
        }
        payload = encode_within(notice, apns_payload).encode()
        try:
            return self._client.post(f"{self.url}/3/device/{token}", content=payload, headers=headers)
        except httpx.HTTPError as error:
            raise TryLater(f"apns: {type(error).__name__}") from None

    def _failure_of(self, response: httpx.Response) -> DeviceGone | NoticeRefused | TryLater:
        status, code = response.status_code, _reason(response)
        reason = f"apns: {code or f'status {status}'}"
        if status == 410 or (code in _UNLIKE_OURS and self._is_proven):
            return DeviceGone(reason)
        if code in _UNLIKE_OURS:
            return ChannelMisconfigured(f"{reason}, and no device has accepted topic and sandbox yet")
        if code in _BUSY:
            return ServiceBusy(reason)
        if status == 403 or code in _MISCONFIGURED:
            return ChannelMisconfigured(reason)
        if 400 <= status < 500 and status != 429:
            return NoticeRefused(reason)
        return TryLater(reason)  # with 429, APNs means this device only


def _load(key: str) -> ec.EllipticCurvePrivateKey:
    try:
        loaded = load_pem_private_key(key.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):
        loaded = None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or not isinstance(loaded.curve, ec.SECP256R1):
        raise ValueError("it is not a .p8 key of Apple")
    return loaded


def _reason(response: httpx.Response) -> str | None:
    """Return why APNs has not taken a notice. What is no plain word is not repeated."""
    try:
        reason = response.json()["reason"]
    except (ValueError, KeyError, TypeError):
        return None
    return reason if isinstance(reason, str) and re.fullmatch(r"[A-Za-z]{1,64}", reason) else None
