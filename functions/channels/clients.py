"""The HTTP clients for push services, whose addresses are known and not given by users."""

import logging
import ssl
from typing import Final

import httpx

_TIMEOUT: Final = httpx.Timeout(10.0, connect=3.0)
_LIMITS: Final = httpx.Limits(max_connections=4, keepalive_expiry=60.0)


def make_client(*, only_http2: bool = False, context: ssl.SSLContext | None = None) -> httpx.Client:
    """Return a client that keeps its connections and follows no redirects. `context` is for tests."""
    for name in ("httpx", "httpcore", "hpack", "google.auth", "urllib3"):  # they log tokens and addresses
        logging.getLogger(name).setLevel(logging.ERROR)
    return httpx.Client(
        http1=not only_http2,
        http2=True,
        verify=True if context is None else context,
        timeout=_TIMEOUT,
        limits=_LIMITS,
        headers={"user-agent": "BB-Gram"},
    )
