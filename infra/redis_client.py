"""The one place where Redis clients are made. Each try that fails is counted."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Self, TypeVar

from redis import ConnectionError as RedisConnectionError
from redis import ConnectionPool, ReadOnlyError, Redis, RedisError
from redis.asyncio import ConnectionPool as AsyncConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from infra.metrics.common import REDIS_ERRORS
from infra.redis_address import SentinelAddress, is_sentinel, parse_sentinel

T = TypeVar("T")

_RETRIES: Final = 1
"""A connection that has broken is opened again at once."""
_SENTINEL_TIMEOUT_S: Final = 1.0
"""A Sentinel that does not answer within this time is passed over."""


def make_redis(url: str, timeout_s: float, *, retries: int = _RETRIES) -> Redis:
    """Return a client that connects on first use, and gives up after `timeout_s` seconds."""
    retry = _CountedRetry(NoBackoff(), retries)
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": retry,
    }
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
    retry = _CountedAsyncRetry(NoBackoff(), _RETRIES, supported_errors=(RedisConnectionError,))
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": retry,
    }
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


def sentinel_options(address: SentinelAddress, timeout_s: float, retry: Any) -> dict[str, Any]:
    """Return what redis-py needs in order to ask a Sentinel."""
    timeout_s = min(timeout_s, _SENTINEL_TIMEOUT_S)
    return {
        **address.tls,
        **address.login,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": retry,
    }


class _Sentinel(Sentinel):
    """The Sentinels of an address. redis-py does not tell why they do not answer."""

    def __init__(self, address: SentinelAddress, timeout_s: float) -> None:
        self._retry = _CountedRetry(NoBackoff(), 0)
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
        self._retry = _CountedAsyncRetry(NoBackoff(), 0)
        asked = sentinel_options(address, timeout_s, self._retry)
        super().__init__(address.sentinels, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]

    async def discover_master(self, service_name: str) -> Any:
        self._retry.failure = None
        try:
            return await super().discover_master(service_name)
        except RedisConnectionError as error:
            raise error from self._retry.failure


class _SentinelPool(SentinelConnectionPool):
    """Closes the connections to the Sentinels together with those to Redis."""

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


def _count(error: Exception) -> None:
    # Redis does not know a script until it is sent in full: nothing has failed.
    if not isinstance(error, NoScriptError):
        REDIS_ERRORS.labels(type(error).__name__).inc()


def _demoted(error: ReadOnlyError) -> RedisConnectionError:
    """Return what to raise when Redis refuses a write because it has become a replica."""
    return RedisConnectionError(f"Redis is a replica: {error}")


class _CountedRetry(Retry):
    """Also tries again when the server turns out to be a replica.

    The address may lead to the new primary by now, so no connection to the old one is kept.
    """

    pool: ConnectionPool | None = None
    failure: Exception | None = None
    """The last error, for those who ask several servers."""

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        """Return itself: connections copy what they are given, but these share their pool."""
        return self

    def call_with_retry(self, do: Callable[[], T], *args: Any, **options: Any) -> T:
        def counted() -> T:
            try:
                return do()
            except ReadOnlyError as error:
                _count(error)
                if self.pool is not None:
                    self.pool.disconnect(inuse_connections=False)
                raise _demoted(error) from error
            except (RedisError, OSError) as error:
                _count(error)
                self.failure = error
                raise

        return super().call_with_retry(counted, *args, **options)


class _CountedAsyncRetry(AsyncRetry):
    """The same for asyncio."""

    pool: AsyncConnectionPool | None = None
    failure: Exception | None = None

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    async def call_with_retry(self, do: Callable[[], Awaitable[T]], *args: Any, **options: Any) -> T:
        async def counted() -> T:
            try:
                return await do()
            except ReadOnlyError as error:
                _count(error)
                if self.pool is not None:
                    await self.pool.disconnect(inuse_connections=False)
                    # Those on which others wait follow when their wait is over.
                    await self.pool.update_active_connections_for_reconnect()
                raise _demoted(error) from error
            except (RedisError, OSError) as error:
                _count(error)
                self.failure = error
                raise

        return await super().call_with_retry(counted, *args, **options)
