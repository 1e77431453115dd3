"""The public keys of a Supabase project, fetched when needed and kept while they are valid.

PyJWT's own `PyJWKClient` does not fit: only its successful fetches start the cool-down, it forgets valid
keys when its cache expires during an outage, and during a fetch it holds a lock that requests with known
keys also need. Hence this small cache over httpx.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final

import httpx
import structlog
from jwt import PyJWK, PyJWKSet

from socket_edge.auth.rejections import unauthorized, unavailable

ALGORITHMS: Final = frozenset({"ES256", "RS256"})
"""Algorithms of published keys. Never HS256: its secret would be the published key."""

FETCH_TIMEOUT_S: Final = 5.0
MAX_AGE_S: Final = 600.0
"""Older keys are fetched again in the background, so that a revoked key stops working."""

_MAX_BYTES: Final = 262_144

_log = structlog.get_logger(__name__)


class JwksError(Exception):
    """The endpoint answered, but without usable keys."""


class Jwks:
    """The signing keys published at `url`; fetched at most once per `cooldown_s`, failures included."""

    def __init__(self, url: str, cooldown_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._client = httpx.AsyncClient(timeout=FETCH_TIMEOUT_S)
        self._keys: dict[str, PyJWK] = {}
        self._tried_at = float("-inf")
        self._fetched_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> PyJWK:
        """Return the key named `kid`. A known key is returned at once, whether or not the endpoint answers.

        Raises Rejection: `unauthorized` if the endpoint does not publish it, `unavailable` if it does not
        answer or serves no keys.
        """
        if kid not in self._keys:
            self._start_fetch()
            if self._fetch is not None:
                # Shielded: a client that leaves must not cancel a fetch that others wait for.
                await asyncio.shield(self._fetch)
        elif self._clock() - self._fetched_at > MAX_AGE_S:
            self._start_fetch()
        if key := self._keys.get(kid):
            return key
        if self._fetched_at < self._tried_at:
            raise unavailable()
        raise unauthorized("The access token is signed with an unknown key.")

    async def aclose(self) -> None:
        """Stop a running fetch and close the connections."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])
        await self._client.aclose()

    def _start_fetch(self) -> None:
        now = self._clock()
        if self._fetch is None and now - self._tried_at >= self._cooldown_s:
            self._tried_at = now
            self._fetch = asyncio.create_task(self._refresh(), name="jwks")

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                body = await self._download()
            self._keys = _usable_keys(body)
            self._fetched_at = self._clock()
            _log.info("jwks_fetched", keys=len(self._keys))
        except Exception as error:  # whatever the endpoint serves, known keys stay in use
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


def _usable_keys(body: bytes) -> dict[str, PyJWK]:
    document = json.loads(body)
    if not isinstance(document, dict):
        raise JwksError("the answer is not a JWKS")
    keys = {
        key.key_id: key
        for key in PyJWKSet.from_dict(document)
        if isinstance(key.key_id, str)
        and key.public_key_use in (None, "sig")
        and key.algorithm_name in ALGORITHMS
    }
    if not keys:
        raise JwksError("no key for " + " or ".join(sorted(ALGORITHMS)))
    return keys
