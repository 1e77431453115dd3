"""Engines that the user provides must answer before the rest of the stack starts."""

from redis import RedisError

from infra.errors import CommandError
from infra.outage import REDIS_PORT, address_of, postgres_address, unusable
from infra.redis_client import make_redis

_CONNECT_S = 5.0


def require_redis(url: str) -> None:
    """Raise CommandError if this Redis does not answer."""
    try:
        with make_redis(url, _CONNECT_S, retries=0) as redis:
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
