"""The HTTP session for addresses that users gave us. It cannot reach our own network."""

import ipaddress
import logging
import socket
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from threading import Timer
from typing import Any, Final

import requests
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection

from functions.channels.pauses import parse_retry_after
from functions.errors import AddressRefused, NoticeRefused, TryLater
from infra.wire.urls import check_url, is_public

TIMEOUTS_S: Final = (5, 10)
"""For connecting, and between two bytes of the answer."""
EXCHANGE_S: Final = 20.0
"""For the whole exchange, from connecting to the last header of the answer."""
_TEMPORARY: Final = frozenset({408, 409, 421, 423, 425, 429})
"""The statuses from 400 to 499 that say nothing against the next try."""


def make_session(*, allow_loopback: bool = False) -> requests.Session:
    """Return a session that posts to public https addresses.

    It follows no redirects, reads no bodies, keeps no cookies and ignores proxies and passwords in the
    environment. `allow_loopback` is for tests and also allows any port. Its methods raise AddressRefused,
    and what requests raises; the messages of the latter may quote the address and must not be logged.
    """
    for name in ("requests_hardened", "urllib3"):  # they log hosts and paths, which may be secret
        logging.getLogger(name).setLevel(logging.ERROR)
    return _Session(allow_loopback)


def retry_after_s(response: requests.Response) -> float | None:
    """Return the pause that an answer asks for, as seconds or as a date (RFC 9110, 10.2.3)."""
    return parse_retry_after(response.headers.get("Retry-After", ""))


def failure_of(channel: str, response: requests.Response) -> NoticeRefused | TryLater:
    """Return what an answer means that is no success: whether it is worth to send the same again."""
    status = response.status_code
    reason = f"{channel}: status {status}"
    if 400 <= status < 500 and status not in _TEMPORARY:
        return NoticeRefused(reason)
    return TryLater(reason, retry_after_s(response))


class _Connection(HTTPSConnection):
    """Hangs up when the whole exchange takes too long. Timeouts cannot do that: each byte resets them."""

    _duplicate: socket.socket | None = None
    _timer: Timer | None = None

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        self._duplicate = connected.dup()  # TLS takes over `connected`; this one stays valid
        self._timer = Timer(EXCHANGE_S, _hang_up, (self._duplicate,))
        self._timer.daemon = True
        self._timer.start()
        return connected

    def close(self) -> None:
        if self._timer is not None and self._duplicate is not None:
            self._timer.cancel()
            self._duplicate.close()
        super().close()


def _hang_up(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(IPFilterAdapter):  # type: ignore[misc]  # untyped
    """Connects to the address that was checked, so that the name cannot be rebound in between."""

    def __init__(self, allow_loopback: bool) -> None:
        super().__init__(is_https_proto=True, allow_loopback=allow_loopback)
        self.poolmanager.pool_classes_by_scheme = {"https": _Pool}

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        host_params, pool_kwargs = super().build_connection_pool_key_attributes(*args, **kwargs)
        address = ipaddress.ip_address(host_params["host"].strip("[]"))
        if not is_public(address) and not (self._allow_loopback and address.is_loopback):
            raise InvalidIPAddress  # the library allows e.g. the old site-local addresses
        return host_params, pool_kwargs


class _Session(HTTPSession):  # type: ignore[misc]  # untyped
    def __init__(self, allow_loopback: bool) -> None:
        super().__init__(
            Config(
                ip_filter_enable=True,
                ip_filter_allow_loopback_ips=allow_loopback,
                never_redirect=True,
                default_timeout=TIMEOUTS_S,
                user_agent_override="BB-Gram",
            )
        )
        self._any_port = allow_loopback
        self.adapters.clear()
        self.mount("https://", _Adapter(allow_loopback))
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        self._check(request.url)
        prepared: requests.PreparedRequest = super().prepare_request(request)
        return prepared

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        self._check(request.url)
        kwargs["stream"] = True
        try:
            response: requests.Response = super().send(request, **kwargs)
        except InvalidIPAddress:
            raise AddressRefused("the host is not public") from None
        response.raw.close()  # closes the connection, so the body is never read
        response._content = b""
        if 300 <= response.status_code < 400:
            raise AddressRefused("the answer is a redirect")
        return response

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: requests would read the whole body of a redirect, even if it is not followed."""

    def _check(self, url: object) -> None:
        try:
            check_url(str(url), any_port=self._any_port)
        except ValueError as error:
            raise AddressRefused(str(error)) from None
