"""The registry on a real Redis: the lease, its users, what expires, and what a loss leads to."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

import pytest
from redis import RedisError
from redis.asyncio import Redis

from infra.presence import REGISTRY_TTL_S
from infra.wire import names
from infra.wire.clock import RedisClock
from infra.wire.inbox import InboxEntry
from socket_edge.chat import presence as module
from socket_edge.chat.presence import EdgePresence
from socket_edge.chat.session import ConnectedUsers, Session
from socket_edge.relay.inbox import Inbox
from socket_edge.tasks import stop
from tests.harness.waiting import PATIENCE_S, until
from tests.unit.socket_edge.connections import connect

EDGE, DEAD = "edge-1", "edge-2"
LEASE_S = 15.0
USERS = names.edge_users_key(EDGE)


def ignore(_: InboxEntry) -> None:
    raise AssertionError("nothing was sent")


class Edge:
    """The presence of one edge, with the inbox that it watches."""

    def __init__(self, redis: Redis, refresh_s: float = 60) -> None:
        self.redis = redis
        self.users = ConnectedUsers()
        self.clock = RedisClock()
        self.inbox = Inbox(redis, EDGE, self.clock, ignore)
        self.losses = asyncio.Queue[float]()
        self.presence = EdgePresence(
            redis, EDGE, self.users, self.inbox, LEASE_S, refresh_s, self.clock, self.losses.put_nowait
        )
        self._running: list[asyncio.Task[None]] = []

    def run(self, *parts: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._running += [asyncio.create_task(part()) for part in parts]

    async def start(self) -> None:
        """Run everything; return once the edge has registered."""
        self.run(self.presence.keep_registry, self.presence.keep_lease)
        async with asyncio.timeout(PATIENCE_S):
            await self.losses.get()

    async def stop(self) -> None:
        await stop(self._running)

    async def arrive(self, *user_ids: str) -> list[Session]:
        sessions = [connect(user_id)[1] for user_id in user_ids]
        for session in sessions:
            self.users.add(session)
        await asyncio.gather(*map(self.presence.register, user_ids))
        return sessions

    async def edges_of(self, user_id: str) -> set[str]:
        return await members(self.redis, names.user_edges_key(user_id))


async def members(redis: Redis, key: str) -> set[str]:
    return texts(await redis.smembers(key))


async def keys_of(redis: Redis) -> set[str]:
    return texts(await redis.keys())


def texts(reply: Iterable[bytes | str]) -> set[str]:
    return {one.decode() if isinstance(one, bytes) else one for one in reply}


@pytest.fixture
async def edge(redis: Redis) -> AsyncIterator[Edge]:
    edge = Edge(redis)
    yield edge
    await edge.stop()


async def redis_ms(redis: Redis) -> int:
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def test_a_new_edge_has_a_lease_an_inbox_and_the_time_of_redis(edge: Edge) -> None:
    await edge.start()
    now_ms = await redis_ms(edge.redis)
    lease_ms = await edge.redis.zscore(names.LEASES_KEY, EDGE)
    assert lease_ms is not None
    assert LEASE_S * 1000 - 5_000 < lease_ms - now_ms <= LEASE_S * 1000
    assert await edge.redis.exists(names.inbox_key(EDGE))
    assert abs((edge.clock.now_ms() or 0) - now_ms) < 1_000


async def test_a_user_who_arrives_is_registered_and_one_who_leaves_is_not(edge: Edge) -> None:
    await edge.start()
    (session,) = await edge.arrive("bob")
    assert await edge.edges_of("bob") == {EDGE}
    assert await members(edge.redis, USERS) == {"bob"}
    edge.users.remove(session)
    await edge.presence.register("bob")
    assert await edge.edges_of("bob") == set()
    assert not await edge.redis.exists(USERS)


async def test_users_who_arrive_together_are_written_together(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    await edge.start()
    write, writes = edge.presence._register, 0

    async def count_and_write(*arguments: Any) -> Any:
        nonlocal writes
        writes += 1
        return await write(*arguments)

    monkeypatch.setattr(edge.presence, "_register", count_and_write)
    await edge.arrive(*(f"user-{number}" for number in range(200)))
    assert writes == 1
    assert await edge.redis.scard(USERS) == 200


async def test_the_next_users_are_gathered_the_longer_the_more_there_were(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, sleep = list[float](), asyncio.sleep

    async def note_and_sleep(seconds: float, *arguments: Any) -> None:
        pauses.append(seconds)
        await sleep(seconds, *arguments)

    await edge.start()
    monkeypatch.setattr(asyncio, "sleep", note_and_sleep)
    for count, pause_s in ((1, 0.005), (4, 0.02), (200, 0.05)):
        pauses.clear()
        await edge.arrive(*(f"{count}-{number}" for number in range(count)))
        await until(lambda: pauses, "it pauses")
        assert pauses[0] == pause_s


async def test_who_leaves_before_being_registered_holds_up_nobody(edge: Edge) -> None:
    session = connect("bob")[1]
    edge.users.add(session)
    leaving, staying = (asyncio.create_task(edge.presence.register("bob")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await edge.start()
    await asyncio.wait_for(staying, PATIENCE_S)
    assert leaving.cancelled()
    assert await edge.edges_of("bob") == {EDGE}


async def test_everything_an_edge_writes_expires_by_itself(edge: Edge) -> None:
    await edge.start()
    await edge.arrive("bob")
    keys = await keys_of(edge.redis) - {names.LEASES_KEY}
    assert keys == {USERS, names.inbox_key(EDGE), names.user_edges_key("bob")}
    for key in keys:
        assert REGISTRY_TTL_S - 60 < await edge.redis.ttl(key) <= REGISTRY_TTL_S


async def test_each_refresh_keeps_the_inbox_and_the_set_of_users_from_expiring(edge: Edge) -> None:
    edge.run(edge.presence.keep_registry)
    await edge.presence._refresh()
    await edge.arrive("bob")
    for key in (USERS, names.inbox_key(EDGE)):
        await edge.redis.expire(key, 100)
    await edge.presence._refresh()
    for key in (USERS, names.inbox_key(EDGE)):
        assert await edge.redis.ttl(key) > 100


async def test_users_are_kept_from_expiring_in_shares_each_in_its_turn(redis: Redis) -> None:
    refreshes = 3  # Refreshes in a quarter of the lifetime of an entry.
    edge = Edge(redis, refresh_s=REGISTRY_TTL_S / 4 / refreshes)
    edge.run(edge.presence.keep_registry)
    await edge.presence._refresh()
    users = [f"user-{number}" for number in range(7)]
    await edge.arrive(*users)
    kept: list[int] = []
    for _ in range(refreshes):
        for user in users:
            await redis.expire(names.user_edges_key(user), 100)
        await edge.presence._refresh()
        kept.append(sum([await redis.ttl(names.user_edges_key(user)) > 100 for user in users]))
    assert kept == [3, 3, 1]
    await edge.stop()


async def test_a_user_who_left_is_not_brought_back_by_the_refresh(redis: Redis) -> None:
    edge = Edge(redis, refresh_s=REGISTRY_TTL_S / 4)
    edge.run(edge.presence.keep_registry)
    await edge.presence._refresh()
    (session, _) = await edge.arrive("bob", "carol")
    edge.users.remove(session)
    await edge.presence.register("bob")
    await edge.presence._refresh()
    assert await edge.edges_of("bob") == set()
    await edge.stop()


async def test_a_write_drops_dead_edges_from_the_users_in_it(edge: Edge) -> None:
    await edge.start()
    await edge.redis.zadd(names.LEASES_KEY, {DEAD: await redis_ms(edge.redis) - 1, "edge-3": float("inf")})
    await edge.redis.sadd(names.user_edges_key("bob"), DEAD, "edge-3", "edge-without-a-lease")
    await edge.arrive("bob")
    assert await edge.edges_of("bob") == {EDGE, "edge-3"}


async def test_withdrawing_removes_every_trace_of_an_edge_that_everybody_has_left(edge: Edge) -> None:
    await edge.start()
    (session,) = await edge.arrive("bob")
    edge.users.remove(session)
    await edge.presence.register("bob")
    await edge.stop()
    await edge.presence.withdraw()
    assert await keys_of(edge.redis) == set()


@pytest.mark.parametrize("is_here", [True, False])
async def test_withdrawing_leaves_it_to_the_sweep_to_announce_who_is_left(edge: Edge, is_here: bool) -> None:
    await edge.start()
    if is_here:
        await edge.arrive("bob")
    await edge.stop()
    await edge.presence.withdraw([] if is_here else ["bob"])
    assert await members(edge.redis, USERS) == {"bob"}
    assert await edge.redis.ttl(USERS) > 0
    lease_ms = await edge.redis.zscore(names.LEASES_KEY, EDGE)
    assert lease_ms is not None
    assert lease_ms < await redis_ms(edge.redis)
    assert not await edge.redis.exists(names.inbox_key(EDGE))


async def test_after_a_loss_users_are_registered_in_portions(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PORTION", 3)
    edge = Edge(redis)
    edge.run(edge.presence.keep_registry)
    await edge.presence._refresh()
    await edge.arrive(*(f"user-{number}" for number in range(10)))
    write, sizes, waiting = edge.presence._register, list[int](), list[int]()

    async def record_and_write(keys: list[str], arguments: list[Any]) -> Any:
        sizes.append(len(arguments) - 2)
        return await write(keys, arguments)

    register = edge.presence.register

    async def count_and_register(user_id: str) -> None:
        running.add(user_id)
        waiting.append(len(running))
        await register(user_id)
        running.discard(user_id)

    running = set[str]()
    monkeypatch.setattr(edge.presence, "_register", record_and_write)
    monkeypatch.setattr(edge.presence, "register", count_and_register)
    await redis.flushdb()
    await edge.presence._refresh()
    assert (max(sizes), sum(sizes), max(waiting)) == (3, 10, 3)
    assert await redis.scard(USERS) == 10
    await edge.stop()


async def test_the_lease_is_renewed_while_many_users_are_registered_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PORTION", 3)
    edge = Edge(redis, refresh_s=1e-9)
    edge.run(edge.presence.keep_registry)
    await edge.presence._refresh()
    await edge.losses.get()
    await edge.arrive(*(f"user-{number}" for number in range(10)))
    await redis.flushdb()
    renew, registered = edge.presence._renew, list[int]()

    async def count_and_renew(*arguments: Any) -> Any:
        registered.append(await redis.scard(USERS))
        return await renew(*arguments)

    monkeypatch.setattr(edge.presence, "_renew", count_and_renew)
    edge.run(edge.presence.keep_lease)
    async with asyncio.timeout(PATIENCE_S):
        await edge.losses.get()
    assert registered[:4] == [0, 3, 6, 9]
    assert await redis.scard(USERS) == 10
    await edge.stop()


async def test_an_inbox_that_could_not_be_created_is_created_at_the_next_refresh(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge.run(edge.presence.keep_registry)
    await edge.presence._refresh()
    await edge.losses.get()
    create, failures = edge.inbox.create, 1

    async def fail_once() -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise RedisError("not now")
        await create()

    monkeypatch.setattr(edge.inbox, "create", fail_once)
    await edge.redis.zrem(names.LEASES_KEY, EDGE)
    await edge.redis.xadd(names.inbox_key(EDGE), {names.INBOX_FIELD: b"{}"})
    with pytest.raises(RedisError):
        await edge.presence._refresh()
    await edge.presence._refresh()
    assert edge.losses.qsize() == 1
    assert await edge.redis.xlen(names.inbox_key(EDGE)) == 0


async def test_a_lost_lease_registers_everybody_again_and_reports_the_loss(redis: Redis) -> None:
    edge = Edge(redis, refresh_s=0.01)
    await edge.start()
    await edge.arrive("bob")
    await redis.flushdb()
    async with asyncio.timeout(PATIENCE_S):
        since = await edge.losses.get()
    assert since < time.monotonic()
    assert await edge.edges_of("bob") == {EDGE}
    assert await redis.exists(names.inbox_key(EDGE))
    await edge.stop()


async def test_a_lost_entry_of_the_inbox_is_reported_once(redis: Redis) -> None:
    edge = Edge(redis, refresh_s=0.01)
    await edge.start()
    await redis.xadd(names.inbox_key(EDGE), {names.INBOX_FIELD: b"{}"})
    await redis.xtrim(names.inbox_key(EDGE), maxlen=0, approximate=False)
    async with asyncio.timeout(PATIENCE_S):
        await edge.losses.get()
    await edge.presence._refresh()
    assert edge.losses.empty()
    await edge.stop()


@pytest.mark.parametrize("failures", [0, 1])
async def test_a_loss_is_reported_once_also_when_redis_fails_in_the_middle(
    redis: Redis, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    edge = Edge(redis, refresh_s=0.01)
    renew, create = edge.presence._renew, edge.inbox.create
    renewals, created = asyncio.Queue[None](), 0

    async def renew_and_lose_the_answer(*arguments: Any) -> Any:
        nonlocal failures
        answer = await renew(*arguments)
        renewals.put_nowait(None)
        if failures:
            failures -= 1
            raise RedisError("the answer got lost")
        return answer

    async def count_and_create() -> None:
        nonlocal created
        created += 1
        await create()

    monkeypatch.setattr(edge.presence, "_renew", renew_and_lose_the_answer)
    monkeypatch.setattr(edge.inbox, "create", count_and_create)
    edge.run(edge.presence.keep_registry, edge.presence.keep_lease)
    async with asyncio.timeout(PATIENCE_S):
        since = await edge.losses.get()
        for _ in range(4):
            await renewals.get()
    assert since < time.monotonic()
    assert edge.losses.empty()
    assert created == 1
    await edge.stop()


async def test_a_lease_that_had_ended_is_a_loss_although_the_reply_that_said_so_was_lost(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    edge = Edge(redis)
    edge.run(edge.presence.keep_registry)
    await edge.presence._refresh()
    await edge.losses.get()
    renewed_ms = await redis_ms(redis)
    while await redis_ms(redis) == renewed_ms:
        pass  # a lease lasts for more than a millisecond: the next one does not end with this one
    await redis.zadd(names.LEASES_KEY, {EDGE: await redis_ms(redis) - 1})
    renew = edge.presence._renew

    async def lose_the_reply(*arguments: Any) -> Any:
        await renew(*arguments)
        raise RedisError("the reply got lost")

    monkeypatch.setattr(edge.presence, "_renew", lose_the_reply)
    with pytest.raises(RedisError):
        await edge.presence._refresh()
    monkeypatch.setattr(edge.presence, "_renew", renew)
    assert edge.losses.empty()
    await edge.presence._refresh()
    assert edge.losses.qsize() == 1
    await edge.presence._refresh()
    assert edge.losses.qsize() == 1
    await edge.stop()


async def test_a_write_that_redis_refuses_is_tried_again(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    await edge.start()
    write, failures = edge.presence._register, 2

    async def fail_twice(*arguments: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise RedisError("not now")
        return await write(*arguments)

    monkeypatch.setattr(edge.presence, "_register", fail_twice)
    await edge.arrive("bob")
    assert failures == 0
    assert await edge.edges_of("bob") == {EDGE}


async def test_withdrawing_from_a_redis_that_is_gone_does_not_fail(redis_that_is_gone: Redis) -> None:
    await Edge(redis_that_is_gone).presence.withdraw()
