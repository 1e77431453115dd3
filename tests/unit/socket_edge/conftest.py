"""A Valkey for what the edge keeps in Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from tests.harness.engines import Engines, Store


@pytest.fixture(scope="session")
def store(engines: Engines) -> Iterator[Store]:
    """A Redis of these tests' own; the database that comes with it is not used."""
    store = engines.new_store(migrated=False)
    yield store
    engines.release(store)


@pytest.fixture
async def redis(store: Store) -> AsyncIterator[Redis]:
    """A client of an empty Redis database."""
    async with Redis.from_url(store.redis_url) as redis:
        await redis.flushdb()
        yield redis
