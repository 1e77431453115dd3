"""A Redis that comes back without its last seconds, as after a crash with an append-only file."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from infra.local.engines import Valkey
from infra.wire import names
from tests.harness.engines import free_port
from tests.unit.socket_edge.chat.test_presence import EDGE, Edge, members


class MortalValkey(Valkey):
    """A Valkey that can be put back to an earlier state."""

    def remember(self) -> Callable[[], None]:
        """Copy the data; return a function that kills the server and starts it with the copy."""
        copy = self.folder.with_name("copy")
        shutil.copytree(self.folder, copy)

        def roll_back() -> None:
            self.kill()
            shutil.rmtree(self.folder)
            copy.rename(self.folder)
            self.start()
            self.wait_ready()

        return roll_back

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.prepare()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[MortalValkey]:
    valkey = MortalValkey(tmp_path, free_port())
    valkey.prepare()
    valkey.start()
    valkey.wait_ready()
    yield valkey
    valkey.stop()


@pytest.fixture
async def edge(valkey: MortalValkey) -> AsyncIterator[Edge]:
    """An edge that has registered, and refreshes only when the test says so."""
    async with Redis.from_url(valkey.url, retry=Retry(NoBackoff(), 1)) as redis:
        edge = Edge(redis)
        edge.run(edge.presence.keep_registry)
        await edge.presence._refresh()
        edge.losses.get_nowait()
        yield edge
        await edge.stop()


async def test_users_who_arrived_in_the_lost_seconds_are_registered_again(
    edge: Edge, valkey: MortalValkey
) -> None:
    roll_back = valkey.remember()
    await edge.arrive("bob")
    await asyncio.to_thread(roll_back)
    assert await edge.edges_of("bob") == set()
    await edge.presence._refresh()
    assert await edge.edges_of("bob") == {EDGE}
    assert await members(edge.redis, names.edge_users_key(EDGE)) == {"bob"}


async def test_entries_that_nobody_had_read_are_noticed(edge: Edge, valkey: MortalValkey) -> None:
    roll_back = valkey.remember()
    await edge.redis.xadd(names.inbox_key(EDGE), {names.INBOX_FIELD: b"{}"})
    await asyncio.to_thread(roll_back)
    await edge.presence._refresh()
    assert edge.losses.qsize() == 1
    await edge.presence._refresh()
    assert edge.losses.qsize() == 1
