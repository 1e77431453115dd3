"""The one place where Redis clients are made. Each try that fails is counted."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from redis import ConnectionError as RedisConnectionError
from redis import Redis, RedisError
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from infra.metrics.common import REDIS_ERRORS

T = TypeVar("T")

_RETRIES: Final = 1
"""A connection that has broken is opened again at once."""

KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in {
        "TCP_KEEPIDLE": 5,
        "TCP_KEEPINTVL": 2,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 5_000,
    }.items()
    if hasattr(socket, name)
}
"""TCP options, in seconds, but the last in ms: how soon the system notices a peer that has vanished."""


def make_redis(url: str, timeout_s: float) -> Redis:
    """Return a client that connects on first use. It does not try again after a time-out."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive_options=KEEPALIVE,
        retry=_CountedRetry(NoBackoff(), _RETRIES, supported_errors=(RedisConnectionError,)),
    )


def make_async_redis(url: str, timeout_s: float) -> AsyncRedis:
    """Return a client for asyncio. It does not try again after a time-out."""
    return AsyncRedis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive_options=KEEPALIVE,
        retry=_CountedAsyncRetry(NoBackoff(), _RETRIES, supported_errors=(RedisConnectionError,)),
    )


def _count(error: Exception) -> None:
    # Redis does not know a script until it is sent in full: nothing has failed.
    if not isinstance(error, NoScriptError):
        REDIS_ERRORS.labels(type(error).__name__).inc()


class _CountedRetry(Retry):
    def call_with_retry(self, do: Callable[[], T], *args: Any, **options: Any) -> T:
        def counted() -> T:
            try:
                return do()
            except (RedisError, OSError) as error:
                _count(error)
                raise

        return super().call_with_retry(counted, *args, **options)


class _CountedAsyncRetry(AsyncRetry):
    async def call_with_retry(self, do: Callable[[], Awaitable[T]], *args: Any, **options: Any) -> T:
        async def counted() -> T:
            try:
                return await do()
            except (RedisError, OSError) as error:
                _count(error)
                raise

        return await super().call_with_retry(counted, *args, **options)
