"""Engines that the user provides must answer before the rest of the stack starts."""

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.errors import CommandError
from infra.outage import REDIS_PORT, address_of, postgres_address, unusable

_CONNECT_S = 5.0


def require_redis(url: str) -> None:
    """Raise CommandError if this Redis does not answer."""
    try:
        with Redis.from_url(
            url, socket_timeout=_CONNECT_S, socket_connect_timeout=_CONNECT_S, retry=Retry(NoBackoff(), 0)
        ) as redis:
            redis.ping()
    except RedisError as error:
        raise CommandError(
            unusable("Redis", address_of(url, REDIS_PORT), error, "BBGRAM_REDIS_URL")
        ) from error


def require_postgres(url: str) -> None:
    """Raise CommandError if this Postgres does not answer."""
    from sqlalchemy.exc import SQLAlchemyError

    from infra.store.engine import make_engine

    engine = make_engine(url, pooled=True)
    try:
        engine.connect().close()
    except SQLAlchemyError as error:
        address = postgres_address(url)
        raise CommandError(unusable("Postgres", address, error, "BBGRAM_DATABASE_URL")) from error
    finally:
        engine.dispose()
