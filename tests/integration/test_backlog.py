"""Batches that wait in the queue are handled together with the one in hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
from celery import Celery
from celery.worker import state
from redis import OutOfMemoryError, Redis
from redis.asyncio import Redis as AsyncRedis

from infra.wire import names
from infra.wire.batch import Batch
from infra.wire.errors import ErrorCode
from socket_edge.relay.dispatch import Dispatcher
from tests.harness.engines import Store
from tests.harness.waiting import until
from tests.harness.worker_bench import WorkerBench
from workers.backlog import Backlog


@pytest.fixture
def backlog(bench: WorkerBench) -> Iterator[Backlog]:
    """Make the backlog of a worker."""
    yield Backlog(bench.redis, stay_s=0)
    bench.redis.delete(names.QUEUE)


@pytest.fixture
async def dispatcher(bench_store: Store) -> AsyncIterator[Dispatcher]:
    """Make what an edge puts batches on the queue with."""
    async with AsyncRedis.from_url(bench_store.redis_url) as redis:
        dispatcher = Dispatcher(redis)
        yield dispatcher


def give(bench: WorkerBench, backlog: Backlog, batch: Batch) -> None:
    """Have the worker handle a batch that Celery has taken from the queue."""
    for together in backlog.follow(batch):
        bench.processor.process(together)


def closed(bench: WorkerBench, edge_id: str | None = None) -> list[str]:
    return [entry.batch_id for entry in bench.read(edge_id).entries if entry.batch_id is not None]


async def test_batches_that_wait_are_answered_with_the_one_in_hand(
    bench: WorkerBench, backlog: Backlog, dispatcher: Dispatcher
) -> None:
    (alice, _), (bob_id, bob) = bench.people("alice", "bob")
    other = f"{bench.edge_id}-other"
    bench.open_edge(other)
    bench.connect(bob_id, other)
    sends = [bench.send(alice, bob, f"text {number}") for number in range(4)]
    first, second, third = (bench.batch([event]) for event in sends[:3])
    elsewhere = Batch("batch-elsewhere", other, [sends[3]])
    for batch in (second, third, elsewhere):
        assert await dispatcher.send(batch, False)
    give(bench, backlog, first)
    assert bench.redis.llen(names.QUEUE) == 0
    here, there = bench.read(), bench.read(other)
    assert [entry.batch_id for entry in here.entries if entry.batch_id] == [first.id, second.id, third.id]
    assert [entry.batch_id for entry in there.entries if entry.batch_id] == [elsewhere.id]
    seqs = [here.ack(event)["message"]["seq"] for event in sends[:3]]
    assert [*seqs, there.ack(sends[3])["message"]["seq"]] == [1, 2, 3, 4]
    assert [message["seq"] for message in there.emitted("new_message", bob_id)] == [1, 2, 3, 4]


async def test_a_batch_that_its_lane_has_sent_again_is_handled_once(
    bench: WorkerBench, backlog: Backlog, dispatcher: Dispatcher
) -> None:
    (alice, _), (bob_id, bob) = bench.people("alice", "bob")
    bench.connect(bob_id)
    batch = bench.batch([bench.send(alice, bob, "hello")])
    for _ in range(2):
        await dispatcher.send(batch, False)
    give(bench, backlog, batch)
    reply = bench.read()
    assert [entry.batch_id for entry in reply.entries if entry.batch_id] == [batch.id]
    assert len(reply.emitted("new_message", bob_id)) == 1


async def test_a_large_batch_is_handled_alone(
    bench: WorkerBench, backlog: Backlog, dispatcher: Dispatcher
) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    await dispatcher.send(bench.batch([bench.send(alice, bob, "waits")]), False)
    give(bench, backlog, bench.batch([bench.send(alice, bob, f"text {number}") for number in range(200)]))
    assert bench.redis.llen(names.QUEUE) == 1
    assert len(closed(bench)) == 1


def test_tasks_that_are_not_batches_are_left_to_celery(
    bench: WorkerBench, bench_store: Store, backlog: Backlog
) -> None:
    with Celery(broker=bench_store.redis_url, set_as_current=False) as beat:
        beat.send_task(names.SWEEP_TASK, queue=names.QUEUE)
    odd: list[Any] = ["", "no JSON", "[" * 5_000, "[]", "{}", '{"properties": "x", "body": "y"}']
    odd += [json.dumps({"headers": {"task": names.RELAY_TASK}})]
    bench.redis.lpush(names.QUEUE, *odd)
    waiting: Any = bench.redis.lrange(names.QUEUE, 0, -1)
    alice, _ = bench.person("alice")
    batch = bench.batch([bench.event(alice, "list_chats", {})])
    give(bench, backlog, batch)
    assert closed(bench) == [batch.id]
    assert bench.redis.lrange(names.QUEUE, 0, -1) == waiting


async def test_no_more_is_taken_than_can_soon_be_handled(
    bench: WorkerBench, backlog: Backlog, dispatcher: Dispatcher
) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    for _ in range(4):
        large = [bench.send(alice, bob, "x" * 400) for _ in range(100)]
        await dispatcher.send(bench.batch(large), False)
    give(bench, backlog, bench.batch([bench.send(alice, bob, "first")]))
    assert bench.redis.llen(names.QUEUE) == 3


async def test_a_failure_beside_receipts_costs_nobody_a_status(
    bench: WorkerBench, backlog: Backlog, dispatcher: Dispatcher
) -> None:
    (alice, alices), (bob_id, bob) = bench.people("alice", "bob")
    bench.connect(alice)
    chat_id = bench.open_chat(alice, bob)
    receipt = bench.event(bob_id, "confirm_delivery", {"chatId": chat_id, "spans": [[1, 1]]})
    await dispatcher.send(bench.batch([receipt]), False)
    poison = bench.send(bob_id, alices, "poison")
    with bench.refusing("poison"):
        give(bench, backlog, bench.batch([poison]))
    reply = bench.read()
    assert reply.failure(poison).code is ErrorCode.INTERNAL
    assert [status["upTo"] for status in reply.emitted("message_status", alice)] == [1]


def test_a_task_that_cannot_be_put_back_does_not_fail_the_batch(bench: WorkerBench, backlog: Backlog) -> None:
    bench.redis.lpush(names.QUEUE, "no batch")
    alice, _ = bench.person("alice")
    batch = bench.batch([bench.event(alice, "list_chats", {})])
    refusing = Backlog(cast(Any, _RefusesToTakeBack(bench.redis)), stay_s=0)
    give(bench, refusing, batch)
    assert closed(bench) == [batch.id]


async def test_later_batches_are_taken_without_celery(
    bench: WorkerBench, dispatcher: Dispatcher, backlog: Backlog
) -> None:
    first, second, third, fourth = (bench.batch([]) for _ in range(4))
    groups = Backlog(bench.redis, stay_s=60).follow(first)
    assert next(groups) == [first]
    await dispatcher.send(second, False)
    await dispatcher.send(third, False)
    assert next(groups) == [second, third]
    waiting = asyncio.create_task(asyncio.to_thread(next, groups))
    await until(lambda: any(one["cmd"] == "brpop" for one in bench.redis.client_list()), "it waits")
    await dispatcher.send(fourth, False)
    assert await waiting == [fourth]


async def test_celery_goes_on_for_any_other_task(
    bench: WorkerBench, dispatcher: Dispatcher, backlog: Backlog
) -> None:
    first, second = bench.batch([]), bench.batch([])
    groups = Backlog(bench.redis, stay_s=60).follow(first)
    assert next(groups) == [first]
    bench.redis.lpush(names.QUEUE, "a task")
    await dispatcher.send(second, False)
    assert next(groups) == [second]
    assert list(groups) == []
    assert bench.redis.lrange(names.QUEUE, 0, -1) == [b"a task"]


@pytest.mark.parametrize("flag", ["should_stop", "should_terminate"])
async def test_a_worker_that_is_to_stop_takes_no_more(
    bench: WorkerBench,
    dispatcher: Dispatcher,
    backlog: Backlog,
    monkeypatch: pytest.MonkeyPatch,
    flag: str,
) -> None:
    first, second = bench.batch([]), bench.batch([])
    groups = Backlog(bench.redis, stay_s=60).follow(first)
    assert next(groups) == [first]
    await dispatcher.send(second, False)
    # Celery's exit code.
    monkeypatch.setattr(state, flag, 0)
    assert list(groups) == []
    assert bench.redis.llen(names.QUEUE) == 1


async def test_celery_goes_on_in_time_also_when_nothing_comes(bench: WorkerBench, backlog: Backlog) -> None:
    batch = bench.batch([])
    assert list(Backlog(bench.redis, stay_s=0.1).follow(batch)) == [[batch]]


class _RefusesToTakeBack:
    """A full Redis, which gives and does not take."""

    def __init__(self, redis: Redis) -> None:
        self.register_script = redis.register_script

    def rpush(self, *_: object) -> None:
        raise OutOfMemoryError("OOM command not allowed when used memory > 'maxmemory'")
