"""The public keys of a Supabase project, fetched when needed and kept while they are valid.

PyJWT's own `PyJWKClient` does not fit: only its successful fetches start the cool-down, it forgets valid
keys when its cache expires during an outage, and during a fetch it holds a lock that requests with known
keys also need. Hence this small cache over httpx.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable
from typing import Final

import httpx
import structlog
from jwt import PyJWK, PyJWTError

from infra.logs import shown
from socket_edge import metrics
from socket_edge.auth.rejections import RefusalReason, unauthorized, unavailable

ALGORITHMS: Final = frozenset({"ES256", "RS256"})
"""Algorithms of published keys. Never HS256: its secret would be the published key."""

FETCH_TIMEOUT_S: Final = 5.0
MAX_AGE_S: Final = 600.0
"""Older keys are fetched again before use, so that a revoked key stops working.
Supabase Auth lets caches keep them for as long (`max-age=600`, internal/api/jwks.go)."""

_MAX_BYTES: Final = 262_144

_log = structlog.get_logger(__name__)


class JwksError(Exception):
    """The endpoint answered, but not with a JWKS."""


class Jwks:
    """The signing keys published at `url`; fetched at most once per `cooldown_s`, failures included."""

    def __init__(self, url: str, cooldown_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        # A longer one would keep keys in use past their age.
        self._cooldown_s = min(cooldown_s, MAX_AGE_S)
        self._clock = clock
        self._client = httpx.AsyncClient(timeout=FETCH_TIMEOUT_S)
        self._keys: dict[str, PyJWK] = {}
        self._tried_at = float("-inf")
        self._fetched_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> PyJWK:
        """Return the key named `kid`: at once, unless it is unknown or older than `MAX_AGE_S`.

        Raises Rejection: `unauthorized` if the endpoint was asked for this key and does not publish it,
        `unavailable` if it does not answer, or was asked too recently to be asked again.
        """
        if (key := self._keys.get(kid)) and self._clock() - self._fetched_at <= MAX_AGE_S:
            return key
        was_asked = await self._ask()
        # While the endpoint is down, older keys stay in use.
        if key := self._keys.get(kid):
            return key
        if self._fetched_at < self._tried_at:
            raise unavailable(RefusalReason.KEYS_UNAVAILABLE, got=self._url, retry_after_ms=self._pause_ms())
        if not was_asked:
            raise unavailable(
                RefusalReason.UNKNOWN_KEY,
                expected=self._names(),
                got=shown(kid),
                retry_after_ms=self._pause_ms(),
            )
        message = "The access token is signed with an unknown key."
        raise unauthorized(RefusalReason.UNKNOWN_KEY, message, expected=self._names(), got=shown(kid))

    async def aclose(self) -> None:
        """Stop a running fetch and close the connections."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])
        await self._client.aclose()

    async def _ask(self) -> bool:
        """Wait for a fetch, a new one if none is running; False within the cool-down."""
        now = self._clock()
        if self._fetch is None and now - self._tried_at >= self._cooldown_s:
            self._tried_at = now
            self._fetch = asyncio.create_task(self._refresh(), name="jwks")
        if self._fetch is None:
            return False
        # Shielded: a client that leaves must not cancel a fetch that others wait for.
        await asyncio.shield(self._fetch)
        return True

    def _pause_ms(self) -> int:
        """Return how long the cool-down still lasts, in milliseconds."""
        left_s = self._tried_at + self._cooldown_s - self._clock()
        return max(1, math.ceil(left_s * 1000))

    def _names(self) -> str:
        return " or ".join(sorted(self._keys)) or f"a key, but {self._url} publishes none"

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                body = await self._download()
            self._keys = usable_keys(body)
            self._fetched_at = self._clock()
            metrics.JWKS_FETCHES.labels("ok").inc()
            _log.info("jwks_fetched", keys=len(self._keys))
        except Exception as error:  # whatever is wrong with the endpoint, known keys stay in use
            metrics.JWKS_FETCHES.labels("failed").inc()
            _log.warning("jwks_fetch_failed", url=self._url, error=type(error).__name__, reason=str(error))
        finally:
            self._fetch = None

    async def _download(self) -> bytes:
        body = bytearray()
        async with self._client.stream("GET", self._url) as response:
            if response.status_code != httpx.codes.OK:
                raise JwksError(f"status {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise JwksError("the answer is too large")
        return bytes(body)


def usable_keys(body: bytes) -> dict[str, PyJWK]:
    """Return the keys of a JWKS that can verify tokens, by their ids. Raises if it is not a JWKS.

    There may be none: a project that uses its legacy secret publishes an empty set.
    """
    document = json.loads(body)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise JwksError("the answer is not a JWKS")
    return {
        key.key_id: key
        for key in map(_read_key, document["keys"])
        if key is not None
        and isinstance(key.key_id, str)
        and key.public_key_use in (None, "sig")
        and key.algorithm_name in ALGORITHMS
    }


def _read_key(jwk: object) -> PyJWK | None:
    """Return a key, or None if its kind is unknown: such a key must not make the others useless."""
    if not isinstance(jwk, dict):
        return None
    try:
        return PyJWK(jwk)
    except (PyJWTError, TypeError, ValueError):
        return None
