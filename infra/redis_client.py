"""The one place where Redis clients are made. Each try that fails is counted."""

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, Self

from redis import ConnectionError as RedisConnectionError
from redis import ReadOnlyError, Redis, RedisError
from redis.asyncio import ConnectionPool as AsyncConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from infra.metrics.common import REDIS_ERRORS
from infra.redis_address import SentinelAddress, is_sentinel, parse_sentinel

_RETRIES: Final = 1
"""A connection that has broken is opened again at once."""
_SENTINEL_TIMEOUT_S: Final = 1.0
"""A Sentinel that does not answer within this time is passed over."""

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


def make_redis(url: str, timeout_s: float, *, retries: int = _RETRIES) -> Redis:
    """Return a client that connects on first use. It does not try again after a time-out."""
    retry = _CountedRetry(retries)
    options = _options(timeout_s, retry)
    if is_sentinel(url):
        address = parse_sentinel(url)
        sentinel = _Sentinel(address, timeout_s)
        redis: Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
            address.primary, connection_pool_class=_SentinelPool, **{**options, **address.server}
        )
    else:
        redis = Redis.from_url(url, **options)
    retry.pool = redis.connection_pool
    return redis


def make_async_redis(url: str, timeout_s: float) -> AsyncRedis:
    """Return a client for asyncio. It does not try again after a time-out."""
    retry = _CountedAsyncRetry(_RETRIES)
    options = _options(timeout_s, retry)
    if is_sentinel(url):
        address = parse_sentinel(url)
        sentinel = _AsyncSentinel(address, timeout_s)
        redis: AsyncRedis = sentinel.master_for(
            address.primary, connection_pool_class=_AsyncSentinelPool, **{**options, **address.server}
        )
    else:
        redis = AsyncRedis.from_url(url, **options)
    retry.pool = redis.connection_pool
    return redis


async def leave_server(redis: AsyncRedis) -> None:
    """Have all connections of a client opened again, where the address leads now."""
    await _leave(redis.connection_pool)


async def _leave(pool: AsyncConnectionPool) -> None:
    await pool.disconnect(inuse_connections=False)
    # Those on which others wait follow when their wait is over.
    await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]


def sentinel_options(address: SentinelAddress, timeout_s: float, retry: Any) -> dict[str, Any]:
    """Return what redis-py needs in order to ask a Sentinel."""
    options = _options(min(timeout_s, _SENTINEL_TIMEOUT_S), retry)
    return {**options, **address.tls, **address.login}


def _options(timeout_s: float, retry: Any) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive_options": KEEPALIVE,
        "retry": retry,
    }


class _Sentinel(Sentinel):
    """The Sentinels of an address. redis-py does not tell why they do not answer."""

    def __init__(self, address: SentinelAddress, timeout_s: float) -> None:
        self._retry = _CountedRetry(0)
        asked = sentinel_options(address, timeout_s, self._retry)
        super().__init__(address.sentinels, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]

    def discover_master(self, service_name: str) -> Any:
        self._retry.failure = None
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except RedisConnectionError as error:
            raise error from self._retry.failure


class _AsyncSentinel(AsyncSentinel):
    """The same for asyncio."""

    def __init__(self, address: SentinelAddress, timeout_s: float) -> None:
        self._retry = _CountedAsyncRetry(0)
        asked = sentinel_options(address, timeout_s, self._retry)
        super().__init__(address.sentinels, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]

    async def discover_master(self, service_name: str) -> Any:
        self._retry.failure = None
        try:
            return await super().discover_master(service_name)
        except RedisConnectionError as error:
            raise error from self._retry.failure


class _SentinelConnection(SentinelManagedConnection):
    """Closes after a time-out, as others do: a late answer is not that of the next command."""

    def read_response(self, *args: Any, disconnect_on_error: bool | None = True, **options: Any) -> Any:
        return super().read_response(*args, disconnect_on_error=disconnect_on_error, **options)


class _SentinelTlsConnection(_SentinelConnection, SentinelManagedSSLConnection):
    pass


class _SentinelPool(SentinelConnectionPool):
    """Closes the connections to the Sentinels together with those to Redis."""

    def __init__(self, *args: Any, **options: Any) -> None:
        is_tls = options.pop("ssl", False)
        kind = _SentinelTlsConnection if is_tls else _SentinelConnection
        super().__init__(*args, connection_class=kind, **options)  # type: ignore[no-untyped-call]

    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        if inuse_connections:
            self.sentinel_manager.close()


class _AsyncSentinelPool(AsyncSentinelConnectionPool):
    """Closes the connections to the Sentinels together with those to Redis."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


class _Counted(ABC):
    """Counts each error, and tries again after those of a broken connection only.

    So is a connection to a server that has become a replica: the address may lead to the new primary by now.
    """

    pool: Any = None
    """The pool of the connections that share this object."""
    failure: Exception | None = None
    """The last error, for those who ask several servers."""

    def __init__(self, retries: int) -> None:
        super().__init__(NoBackoff(), retries, (RedisError, OSError))  # type: ignore[call-arg]

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        """Return itself: each connection would copy it, and with it the pool."""
        return self

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        def count(error: Exception) -> bool:
            self.failure = error
            # Redis does not know a script until it is sent in full: nothing has failed.
            if not isinstance(error, NoScriptError):
                REDIS_ERRORS.labels(type(error).__name__).inc()
            if isinstance(error, ReadOnlyError):
                return True
            return isinstance(error, RedisConnectionError) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, self.leaving(fail), count, with_failure_count)  # type: ignore[misc]

    @abstractmethod
    def leaving(self, fail: Callable[..., Any]) -> Callable[..., Any]:
        """Return what to do about an error: also leave a replica on all connections of the pool."""


class _CountedRetry(_Counted, Retry):
    def leaving(self, fail: Callable[..., Any]) -> Callable[..., Any]:
        def leave(error: Exception, *more: Any) -> None:
            if isinstance(error, ReadOnlyError) and self.pool is not None:
                self.pool.disconnect(inuse_connections=False)
            fail(error, *more)

        return leave


class _CountedAsyncRetry(_Counted, AsyncRetry):
    def call_with_retry(self, do: Callable[[], Any], *more: Any, **options: Any) -> Any:
        async def attempt() -> Any:
            try:
                return await do()
            except RuntimeError as error:
                # From uvloop, if the connection broke a moment before it is written to: its issue 506.
                if "handler is closed" not in str(error):
                    raise
                raise RedisConnectionError("the connection was closed") from error

        return super().call_with_retry(attempt, *more, **options)

    def leaving(self, fail: Callable[..., Any]) -> Callable[..., Any]:
        async def leave(error: Exception, *more: Any) -> None:
            if isinstance(error, ReadOnlyError) and self.pool is not None:
                await _leave(self.pool)
            await fail(error, *more)

        return leave
