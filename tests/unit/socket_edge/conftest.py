"""A Valkey for what the edge keeps in Redis."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.harness.engines import Engines, Store


@pytest.fixture(scope="session")
def store(engines: Engines) -> Store:
    """The database and the Redis of these tests."""
    return engines.new_store(migrated=False)


@pytest.fixture
async def redis(store: Store) -> AsyncIterator[Redis]:
    """A client of an empty Redis database."""
    async with Redis.from_url(store.redis_url) as redis:
        await redis.flushdb()
        yield redis
