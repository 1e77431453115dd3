"""The one place where Redis clients are made. Each try that fails is counted."""

import socket
from collections.abc import Callable
from typing import Any, Final

from redis import ConnectionError as RedisConnectionError
from redis import Redis, RedisError
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from infra.metrics.common import REDIS_ERRORS

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
        retry=_CountedRetry(),
    )


def make_async_redis(url: str, timeout_s: float) -> AsyncRedis:
    """Return a client for asyncio. It does not try again after a time-out."""
    return AsyncRedis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive_options=KEEPALIVE,
        retry=_CountedAsyncRetry(),
    )


class _Counted:
    """Counts each error, and tries again after those of a broken connection only."""

    def __init__(self) -> None:
        super().__init__(NoBackoff(), _RETRIES, (RedisError, OSError))  # type: ignore[call-arg]

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        def count(error: Exception) -> bool:
            # Redis does not know a script until it is sent in full: nothing has failed.
            if not isinstance(error, NoScriptError):
                REDIS_ERRORS.labels(type(error).__name__).inc()
            return isinstance(error, RedisConnectionError) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, count, with_failure_count)  # type: ignore[misc]


class _CountedRetry(_Counted, Retry):
    pass


class _CountedAsyncRetry(_Counted, AsyncRetry):
    pass
