"""Asks the app's backend about messages before they are stored: one signed request for a whole batch."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from time import monotonic
from typing import Any, Final

import httpcore
import msgspec
import structlog
from standardwebhooks import Webhook

from infra.outage import Outage, reason
from infra.settings.hook import HookSettings
from infra.wire.hook import HookMessage, HookRequest, Result
from infra.wire.urls import is_public
from workers import metrics

log = structlog.get_logger(__name__)

_ANSWER_BYTES: Final = 4_000_000
_IDLE_S: Final = 4.0
"""How long a connection is kept. Most servers close theirs after 5 s."""
_FAILURES: Final = 3
"""After so many failures in a row, the endpoint is left alone for a while, and again after each one more."""
_PAUSE_S: Final = 2.0
_REQUESTS: Final = 20
"""The most requests about a batch, which find one message among hundreds."""
_STUMBLES: Final = frozenset({400, 413, 422, 500})
"""The statuses that may be about some of the messages only."""

IPAddress = IPv4Address | IPv6Address


class HookFailed(Exception):
    """There is no usable answer. The message is a few words, and none of the endpoint's."""


class HookStumbled(HookFailed):
    """The endpoint answers, but not as it must. It may be able to tell about some of the messages."""


class Hook:
    """The endpoint. It is asked over a connection that is kept.

    Each worker has one of its own, so each finds out by itself that the endpoint is down.
    """

    def __init__(self, url: str, secrets: Sequence[str], timeout_s: float) -> None:
        is_allowed = is_public if url.startswith("https://") else _is_loopback
        self._url = url
        self._webhooks = [Webhook(secret) for secret in secrets]
        self._timeout_s = timeout_s
        self._runner = asyncio.Runner()
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=1, keepalive_expiry=_IDLE_S, network_backend=_Network(is_allowed)
        )
        self._failures = 0
        self._paused_until = 0.0
        self._outage = Outage("hook")

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self._pool.aclose())
        self._runner.close()

    def ask(self, messages: Sequence[HookMessage]) -> list[Result | None]:
        """Return a result for each message; None for those without a usable one, which is all if it fails."""
        if monotonic() < self._paused_until:
            metrics.HOOK_REQUESTS.counts["paused",] += 1
            return [None] * len(messages)
        began = monotonic()
        try:
            results = self._ask_in_parts(messages, began + self._timeout_s)
        except HookFailed as failure:
            self._note_failure(failure)
            return [None] * len(messages)
        finally:
            metrics.HOOK_SECONDS.observe(monotonic() - began)
        self._failures = 0
        self._outage.ends()
        return results

    def _ask_in_parts(self, messages: Sequence[HookMessage], until: float) -> list[Result | None]:
        """Ask about all messages, and about halves of those over which the endpoint stumbles.

        So one message harms no others. Raises HookFailed if it answers about none.
        """
        results: list[Result | None] = [None] * len(messages)
        failures: list[HookFailed] = []
        parts = deque([slice(0, len(messages))])
        requests = 0
        while parts and requests < _REQUESTS:
            part = parts.popleft()
            requests += 1
            try:
                results[part] = self.request(messages[part], until - monotonic())
                metrics.HOOK_REQUESTS.counts["answered",] += 1
            except HookFailed as failure:
                metrics.HOOK_REQUESTS.counts["failed",] += 1
                failures.append(failure)
                if not isinstance(failure, HookStumbled):
                    break
                if part.stop - part.start > 1:
                    middle = (part.start + part.stop) // 2
                    parts += [slice(part.start, middle), slice(middle, part.stop)]
        if len(failures) == requests:
            raise failures[0]
        if failures:
            log.warning("hook_stumbled", requests=len(failures), error=str(failures[0]))
        return results

    def request(self, messages: Sequence[HookMessage], timeout_s: float | None = None) -> list[Result | None]:
        """Do the same with one request, whatever happened before. Raises HookFailed."""
        body = msgspec.json.encode(HookRequest(list(messages)))
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            answer = self._runner.run(self._exchange(body, self._headers(messages, body), limit_s))
            results = list(json.loads(answer)["results"])
        except TimeoutError:
            raise HookFailed("no answer in time") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise HookStumbled("the answer is not what it must be") from None
        except HookFailed:
            raise
        except Exception as error:  # whatever a connection raises
            raise HookFailed(reason(error)) from None
        if len(results) != len(messages):
            raise HookStumbled(f"{len(results)} results for {len(messages)} messages")
        return [_read(result) for result in results]

    def _note_failure(self, failure: HookFailed) -> None:
        self._failures += 1
        if self._failures >= _FAILURES:
            self._paused_until = monotonic() + _PAUSE_S
        if self._outage.begins():
            log.warning("hook_failed", error=str(failure))

    def _headers(self, messages: Iterable[HookMessage], body: bytes) -> list[tuple[str, str]]:
        digest = sha256("\n".join(message.id for message in messages).encode()).hexdigest()
        request_id, now = f"hook_{digest[:32]}", datetime.now(UTC)
        signatures = [webhook.sign(request_id, now, body.decode()) for webhook in self._webhooks]
        return [
            ("user-agent", "BB-Gram"),
            ("content-type", "application/json"),
            ("webhook-id", request_id),
            ("webhook-timestamp", str(int(now.timestamp()))),
            ("webhook-signature", " ".join(signatures)),
        ]

    async def _exchange(self, body: bytes, headers: list[tuple[str, str]], limit_s: float) -> bytes:
        async with asyncio.timeout(limit_s):
            try:
                return await self._post(body, headers)
            except (httpcore.NetworkError, httpcore.RemoteProtocolError):
                # A kept connection may end just now. Whoever is asked twice recognises the ids.
                return await self._post(body, headers)

    async def _post(self, body: bytes, headers: list[tuple[str, str]]) -> bytes:
        """Post without following redirects or heeding proxies: httpcore knows neither."""
        answer = bytearray()
        async with self._pool.stream("POST", self._url, headers=headers, content=body) as response:
            if response.status != 200:
                failure = HookStumbled if response.status in _STUMBLES else HookFailed
                raise failure(f"status {response.status}")
            async for part in response.aiter_stream():
                answer += part
                if len(answer) > _ANSWER_BYTES:
                    raise HookStumbled("the answer is too long")
        return bytes(answer)


def make_hook(settings: HookSettings) -> Hook:
    """Return the hook. Only for settings with a URL."""
    assert settings.hook_url is not None
    return Hook(settings.hook_url, (settings.hook_secrets or "").split(), settings.hook_timeout_s)


def _read(result: Any) -> Result | None:
    """Return a result; None if it is none. That harms no other, even if it holds half of an emoji."""
    try:
        return msgspec.convert(result, Result)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        return None


def _is_loopback(address: IPAddress) -> bool:
    return address.is_loopback


class _Network(httpcore.AnyIOBackend):
    """Connects to the addresses that were checked, so that the name cannot be rebound in between."""

    def __init__(self, is_allowed: Callable[[IPAddress], bool]) -> None:
        self._is_allowed = is_allowed

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> Any:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(address[0]) for *_, address in found if self._is_allowed(ip_address(address[0]))]
        if not addresses:
            raise HookFailed("its address is not allowed")
        for address in addresses[:-1]:
            try:
                return await super().connect_tcp(address, port, *args, **options)
            except httpcore.ConnectError:
                continue
        return await super().connect_tcp(addresses[-1], port, *args, **options)
