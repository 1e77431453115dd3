"""What commands say about a Postgres or a Redis that does not answer, or refuses what they ask."""

from collections.abc import Iterator
from contextlib import contextmanager

from infra.errors import CommandError
from infra.outage import REDIS_PORT, address_of, postgres_address, reason, unusable


@contextmanager
def errors_in_one_line(what: str, database_url: str, redis_url: str | None = None) -> Iterator[None]:
    """Turn errors of Postgres and Redis into CommandErrors that name the service, or say what it refused."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        if _is_lost(error):
            address = postgres_address(database_url)
            told = unusable("Postgres", address, cause, "BBGRAM_DATABASE_URL")
        else:
            told = str(cause)
        raise CommandError(f"{what} failed: {told}") from error
    except _redis_errors() as error:
        told = reason(error)
        if redis_url:
            told = unusable("Redis", address_of(redis_url, REDIS_PORT), error, "BBGRAM_REDIS_URL")
        raise CommandError(f"{what} failed: {told}") from error


@contextmanager
def worker_errors_in_one_line(what: str, database_url: str, redis_url: str | None = None) -> Iterator[None]:
    """Do the same for what runs as a worker does."""
    from workers.batch_processor import Unreachable

    try:
        with errors_in_one_line(what, database_url, redis_url):
            yield
    except Unreachable as error:
        raise CommandError(f"{what} failed: {error}") from error


def _redis_errors() -> tuple[type[Exception], ...]:
    """Return what Redis clients raise. Without the extra `worker` there is no kombu, which is one of them."""
    from redis import RedisError

    try:
        from kombu.exceptions import KombuError
    except ModuleNotFoundError:
        return (RedisError,)
    return (KombuError, RedisError)


def _is_lost(error: Exception) -> bool:
    """Return whether there was no connection, so that Postgres has refused no statement."""
    from sqlalchemy.exc import OperationalError

    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) is None
