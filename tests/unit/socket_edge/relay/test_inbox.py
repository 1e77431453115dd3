"""The inbox on a real Redis: it reads in order, resumes, and notices what it has lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis import RedisError
from redis.asyncio import Redis

from infra.presence import REGISTRY_TTL_S
from infra.wire import names
from infra.wire.clock import RedisClock
from infra.wire.inbox import InboxEntry
from socket_edge.relay import inbox as module
from socket_edge.relay.inbox import Inbox
from socket_edge.tasks import stop
from tests.harness.waiting import PATIENCE_S, until

EDGE = "edge-1"
KEY = names.inbox_key(EDGE)


class Reader:
    """An inbox, and what it has handed over."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.taken: list[str | None] = []
        self._more = asyncio.Event()
        self.inbox = Inbox(redis, EDGE, RedisClock(), self._take)
        self._running: list[asyncio.Task[None]] = []

    def _take(self, entry: InboxEntry) -> None:
        self.taken.append(entry.batch_id)
        self._more.set()

    async def write(self, *batch_ids: str) -> None:
        """Add entries, as workers do."""
        for batch_id in batch_ids:
            entry = msgspec.json.encode(InboxEntry(batch_id=batch_id))
            await self.redis.xadd(KEY, {names.INBOX_FIELD: entry}, nomkstream=True)

    def start(self) -> None:
        self._running.append(asyncio.create_task(self.inbox.run()))

    async def stop(self) -> None:
        await stop(self._running)
        self._running.clear()

    async def until(self, *batch_ids: str) -> None:
        """Wait until exactly these have been handed over."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.taken) < len(batch_ids):
                self._more.clear()
                await self._more.wait()
        assert self.taken == list(batch_ids)


@pytest.fixture
async def reader(redis: Redis) -> AsyncIterator[Reader]:
    reader = Reader(redis)
    yield reader
    await reader.stop()


async def test_a_new_inbox_exists_is_empty_and_expires_by_itself(reader: Reader) -> None:
    assert await reader.inbox.has_lost_entries()
    await reader.inbox.create()
    assert await reader.redis.xlen(KEY) == 0
    assert REGISTRY_TTL_S - 60 < await reader.redis.ttl(KEY) <= REGISTRY_TTL_S
    assert not await reader.inbox.has_lost_entries()


async def test_an_empty_inbox_counts_as_read_as_soon_as_it_exists(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_MS", 60_000)
    reader.start()
    await asyncio.sleep(0)
    assert not reader.inbox.reading
    await reader.inbox.create()
    await until(lambda: reader.inbox.reading, "it is being read")


async def test_entries_are_handed_over_in_order(reader: Reader) -> None:
    await reader.inbox.create()
    await reader.write("one", "two")
    reader.start()
    await reader.until("one", "two")
    await reader.write("three")
    await reader.until("one", "two", "three")
    assert reader.inbox.reading


async def test_more_entries_than_one_read_returns_all_arrive(reader: Reader) -> None:
    await reader.inbox.create()
    sent = [str(number) for number in range(5 * module._COUNT + 1)]
    await reader.write(*sent)
    reader.start()
    await reader.until(*sent)


async def test_reading_resumes_where_it_stopped(reader: Reader) -> None:
    await reader.inbox.create()
    reader.start()
    await reader.write("one")
    await reader.until("one")
    await reader.stop()
    await reader.write("two")
    reader.start()
    await reader.until("one", "two")


async def test_an_entry_that_cannot_be_read_does_not_stop_the_rest(reader: Reader) -> None:
    await reader.inbox.create()
    await reader.redis.xadd(KEY, {names.INBOX_FIELD: b"{"})
    await reader.write("next")
    reader.start()
    await reader.until("next")


async def test_entries_that_were_read_are_deleted_and_do_not_count_as_lost(reader: Reader) -> None:
    await reader.inbox.create()
    await reader.write("one", "two")
    reader.start()
    await reader.until("one", "two")
    assert not await reader.inbox.has_lost_entries()
    assert await reader.redis.xlen(KEY) == 0


async def test_unread_entries_are_kept_and_do_not_count_as_lost(reader: Reader) -> None:
    await reader.inbox.create()
    await reader.write("one")
    assert not await reader.inbox.has_lost_entries()
    assert await reader.redis.xlen(KEY) == 1


async def test_an_entry_that_was_trimmed_unread_is_a_loss(reader: Reader) -> None:
    await reader.inbox.create()
    await reader.write("one", "two")
    await reader.redis.xtrim(KEY, maxlen=1, approximate=False)
    assert await reader.inbox.has_lost_entries()


async def roll_back(reader: Reader, older: bytes | None) -> None:
    """Have Redis forget what it has written to the stream since `older`."""
    assert older is not None
    await reader.redis.restore(KEY, 0, older, replace=True)


async def test_a_stream_that_lacks_entries_that_were_read_is_a_loss(reader: Reader) -> None:
    await reader.inbox.create()
    reader.start()
    await reader.write("one")
    await reader.until("one")
    older = await reader.redis.dump(KEY)
    await reader.write("two", "three")
    await reader.until("one", "two", "three")
    await roll_back(reader, older)
    assert await reader.inbox.has_lost_entries()


async def test_a_loss_after_a_roll_back_is_not_hidden(reader: Reader) -> None:
    await reader.inbox.create()
    older = await reader.redis.dump(KEY)
    reader.start()
    await reader.write("one", "two")
    await reader.until("one", "two")
    await reader.stop()
    await roll_back(reader, older)
    await reader.write("three", "four")
    await reader.redis.xtrim(KEY, maxlen=1, approximate=False)
    assert await reader.inbox.has_lost_entries()


async def test_ids_that_go_back_are_a_loss_although_the_numbers_fit(reader: Reader) -> None:
    await reader.inbox.create()
    older = await reader.redis.dump(KEY)
    reader.start()
    await reader.write("one")
    await reader.until("one")
    await roll_back(reader, older)
    # The clock of the Redis that came back is behind.
    await reader.redis.xadd(KEY, {names.INBOX_FIELD: b"{}"}, id="0-2")
    assert await reader.inbox.has_lost_entries()


async def test_entries_that_are_read_during_the_check_do_not_count_as_lost(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reader.inbox.create()
    await reader.write("one")
    trim = reader.redis.xtrim

    async def read_and_trim(*arguments: Any, **named: Any) -> Any:
        reader.start()
        await reader.until("one")
        return await trim(*arguments, **named)

    monkeypatch.setattr(reader.redis, "xtrim", read_and_trim)
    assert not await reader.inbox.has_lost_entries()
    await reader.write("two")
    await reader.until("one", "two")


async def test_a_missing_inbox_is_a_loss_and_a_new_one_is_complete(reader: Reader) -> None:
    await reader.inbox.create()
    await reader.write("one")
    await reader.redis.delete(KEY)
    assert await reader.inbox.has_lost_entries()
    await reader.inbox.create()
    assert not await reader.inbox.has_lost_entries()
    reader.start()
    await reader.write("two")
    await reader.until("two")


async def test_an_inbox_recreated_while_it_is_read_is_read_from_its_start(reader: Reader) -> None:
    await reader.inbox.create()
    reader.start()
    await reader.write("one", "two")
    await reader.until("one", "two")
    await reader.inbox.create()
    await reader.write("three")
    await reader.until("one", "two", "three")
    assert not await reader.inbox.has_lost_entries()


async def test_workers_do_not_bring_back_an_inbox_that_is_gone(reader: Reader) -> None:
    await reader.write("nobody reads it")
    assert not await reader.redis.exists(KEY)


async def test_an_inbox_without_redis_is_not_being_read_until_redis_is_back(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    read, failed = reader.redis.xread, asyncio.Event()
    is_down = True

    async def xread(*arguments: object) -> object:
        if is_down:
            failed.set()
            raise RedisError("not now")
        return await read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reader.redis, "xread", xread)
    await reader.inbox.create()
    await reader.write("one")
    reader.start()
    async with asyncio.timeout(PATIENCE_S):
        await failed.wait()
    assert not reader.inbox.reading
    is_down = False
    await reader.until("one")
    assert reader.inbox.reading
