"""Sends push notifications to Android devices through FCM's HTTP v1 API.

Follows "Send a message using FCM HTTP v1 API" and "FCM error codes" of the Firebase documentation
(https://firebase.google.com/docs/cloud-messaging/error-codes), and its "Scale when sending messages": pauses
as `Retry-After` says, or a minute where a 429 has none.
"""

from functools import partial
from typing import Any, ClassVar, Final

import httpx
import requests
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from functions.channels.channel import Device, Notice
from functions.channels.pauses import parse_retry_after
from functions.channels.payload import PUSH_BYTES, compact_json, encode_within
from functions.channels.phones import fcm_message
from functions.errors import ChannelMisconfigured, DeviceGone, NoticeRefused, ServiceBusy, TryLater

URL: Final = "https://fcm.googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_TOKEN_TIMEOUT_S: Final = 10
_PAUSE_S: Final = 60.0
_BUSY: Final = frozenset({429, 503})
_NOT_OURS: Final = frozenset({401, 403, 404})
"""A key, a project or a right is missing. A 404 of a token is told apart before."""
_TYPE: Final = "type.googleapis.com/google."
_ERROR: Final = f"{_TYPE}firebase.fcm.v1.FcmError"
_BAD_REQUEST: Final = f"{_TYPE}rpc.BadRequest"


class FcmChannel:
    """Posts to the Firebase project of a service account. Raises ValueError if that cannot be used.

    `session` asks for the access tokens, which `client` sends with the notices.
    """

    replaces: ClassVar = True

    def __init__(
        self, client: httpx.Client, session: requests.Session, account: dict[str, Any], url: str = URL
    ) -> None:
        self._client = client
        self._url = f"{url}/v1/projects/{account['project_id']}/messages:send"
        self._credentials: Credentials = Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            account, scopes=[_SCOPE]
        )
        self._ask = partial(Request(session=session), timeout=_TOKEN_TIMEOUT_S)

    def send(self, device: Device, notice: Notice) -> None:
        """Send a notice; it replaces an earlier one with the same id.

        Raises DeviceGone, NoticeRefused, ChannelMisconfigured and TryLater.
        """
        response = self._post(device.address, notice)
        if response.status_code == 401:  # the token may have been revoked, so it is worth a new one
            self._credentials.token = None
            response = self._post(device.address, notice)
        if not response.is_success:
            raise _failure_of(response)

    def _post(self, token: str, notice: Notice) -> httpx.Response:
        headers = {"authorization": f"Bearer {self._access_token()}", "content-type": "application/json"}

        def encode(shortened: Notice) -> str:
            return compact_json({"message": {"token": token, **fcm_message(shortened)}})

        room = PUSH_BYTES + len(token)  # the limit of FCM does not count the token
        body = encode_within(notice, encode, room).encode()
        try:
            return self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise TryLater(f"fcm: {type(error).__name__}") from None

    def _access_token(self) -> str:
        """Return a token of the service account, which is renewed shortly before it expires."""
        try:
            if not self._credentials.valid:
                self._credentials.refresh(self._ask)  # type: ignore[no-untyped-call]
        except GoogleAuthError as error:
            reason = f"fcm: no access token, {type(error).__name__}"
            is_refused = isinstance(error, RefreshError) and not error.retryable
            raise (ChannelMisconfigured if is_refused else TryLater)(reason) from None
        return str(self._credentials.token)


def _failure_of(response: httpx.Response) -> DeviceGone | NoticeRefused | TryLater:
    status, code = response.status_code, _code_of(response)
    reason = f"fcm: {code or f'status {status}'}"
    if code == "UNREGISTERED" or (code == "INVALID_ARGUMENT" and _is_about_token(response)):
        return DeviceGone(reason)
    if status in _NOT_OURS:
        return ChannelMisconfigured(reason)
    if status in _BUSY:
        return ServiceBusy(reason, _pause_s(response))
    if status < 500:
        return NoticeRefused(reason)
    return TryLater(reason, parse_retry_after(response.headers.get("Retry-After", "")))


def _pause_s(response: httpx.Response) -> float | None:
    asked_s = parse_retry_after(response.headers.get("Retry-After", ""))
    return _PAUSE_S if asked_s is None and response.status_code == 429 else asked_s


def _code_of(response: httpx.Response) -> str | None:
    """Return the code of FCM itself. Other servers on the way, and other parts of Google, give none."""
    codes = [detail.get("errorCode") for detail in _details(response) if detail.get("@type") == _ERROR]
    return str(codes[0]) if codes else None


def _is_about_token(response: httpx.Response) -> bool:
    """Return whether FCM says that the token is invalid, and nothing else."""
    details = [detail for detail in _details(response) if detail.get("@type") == _BAD_REQUEST]
    lists = [detail.get("fieldViolations") for detail in details]
    violations = [violation for some in lists if isinstance(some, list) for violation in some]
    return bool(violations) and all(
        isinstance(violation, dict) and violation.get("field") == "message.token" for violation in violations
    )


def _details(response: httpx.Response) -> list[dict[str, Any]]:
    try:
        details = response.json()["error"]["details"]
        return [detail for detail in details if isinstance(detail, dict)]
    except (ValueError, KeyError, TypeError):
        return []
