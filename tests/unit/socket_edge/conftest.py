"""A Valkey for what the edge keeps in Redis, and libraries that are as they were after each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from engineio.packet import Packet
from engineio.payload import Payload
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.harness.engines import Engines, Store


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a SocketServer changes in engineio, for the clients of other tests in this process."""
    monkeypatch.setattr(Packet, "json", Packet.json)
    monkeypatch.setattr(Payload, "max_decode_packets", Payload.max_decode_packets)


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


@pytest.fixture
async def redis_that_is_gone() -> AsyncIterator[Redis]:
    """A client of a Redis that nobody runs."""
    async with Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)) as redis:
        yield redis
