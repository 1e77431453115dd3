"""The one place where Redis clients are made. Each try that fails is counted."""

from collections.abc import Callable
from typing import Any, Final

from redis import ConnectionError as RedisConnectionError
from redis import Redis, RedisError
from redis import TimeoutError as RedisTimeoutError
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from infra.metrics.common import REDIS_ERRORS

_RETRIES: Final = 1
"""A connection that has broken is opened again at once."""


def make_redis(url: str, timeout_s: float) -> Redis:
    """Return a client that connects on first use, and gives up after `timeout_s` seconds."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=_CountedRetry(RedisConnectionError, RedisTimeoutError),
    )


def make_async_redis(url: str, timeout_s: float) -> AsyncRedis:
    """Return a client for asyncio. It does not try again after a time-out."""
    return AsyncRedis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=_CountedAsyncRetry(RedisConnectionError),
    )


class _Counted:
    """What a retry does with an error: count it, and try again after some kinds only."""

    def __init__(self, *retried: type[Exception]) -> None:
        super().__init__(NoBackoff(), _RETRIES, (RedisError, OSError))  # type: ignore[call-arg]
        self._retried = retried

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
            return isinstance(error, self._retried) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, count, with_failure_count)  # type: ignore[misc]


class _CountedRetry(_Counted, Retry):
    pass


class _CountedAsyncRetry(_Counted, AsyncRetry):
    pass
