"""The lease: a loss is told to the sockets, however badly Redis answers meanwhile."""

import asyncio
from typing import Any, cast

import pytest
from redis import RedisError

from infra.wire.clock import RedisClock
from socket_edge.presence import Presence
from socket_edge.sessions import ConnectedUsers
from socket_edge.tasks import stop


class FakeRedis:
    """Has one lease; loses the answer to the first time that it is set."""

    def __init__(self) -> None:
        self.lease_ms: float | None = None
        self.failures = 1

    async def time(self) -> tuple[int, int]:
        return 1_000, 0

    async def zscore(self, key: str, member: str) -> float | None:
        return self.lease_ms

    async def zadd(self, key: str, mapping: dict[str, float]) -> None:
        (self.lease_ms,) = mapping.values()
        if self.failures:
            self.failures -= 1
            raise RedisError("the answer got lost")


class FakeInbox:
    """Is complete unless told otherwise; counts how often it was made anew."""

    def __init__(self) -> None:
        self.created = 0

    async def create(self) -> None:
        self.created += 1

    async def has_lost_entries(self) -> bool:
        return False


@pytest.mark.parametrize("failures", [0, 1])
async def test_a_loss_is_told_once_also_when_redis_fails_in_the_middle(failures: int) -> None:
    redis, inbox, told = FakeRedis(), FakeInbox(), asyncio.Queue[float]()
    redis.failures = failures
    presence = Presence(
        cast(Any, redis), "edge", ConnectedUsers(), cast(Any, inbox), 15, 0.01, RedisClock(), told.put
    )
    running = [asyncio.create_task(part()) for part in (presence.keep_lease, presence.keep_registry)]
    async with asyncio.timeout(5):
        since = await told.get()
    await asyncio.sleep(0.05)
    await stop(running)
    assert since < asyncio.get_running_loop().time()
    assert told.empty()
    assert inbox.created == 1
