"""The dispatcher on a real Redis: a batch lies on the queue as Celery would have put it there."""

import json
from base64 import b64decode

import msgspec
import pytest
from kombu.serialization import loads
from redis.asyncio import Redis

from infra.wire import names
from infra.wire.batch import Batch, Event
from infra.wire.serializer import CONTENT_TYPE
from socket_edge.relay import dispatch as module
from socket_edge.relay.dispatch import Dispatcher

SECRET = "the text of a message"


def batch(number: int = 1) -> Batch:
    payload = msgspec.Raw(msgspec.json.encode({"text": SECRET}))
    return Batch(f"batch-{number}", "edge-1", [Event("event", "send_message", "bob", "socket", payload, 5)])


def read_batch(message: dict[str, object]) -> Batch:
    """Return the batch in a task message, as a worker reads it."""
    body = b64decode(str(message["body"]))
    (taken,), _, _ = loads(body, CONTENT_TYPE, "utf-8", accept=[CONTENT_TYPE])  # type: ignore[no-untyped-call]
    assert isinstance(taken, Batch)
    return taken


@pytest.fixture
async def dispatcher(redis: Redis) -> Dispatcher:
    return Dispatcher(redis)


async def queued(redis: Redis) -> list[dict[str, object]]:
    """Return what lies on the queue, in the order in which workers take it."""
    return [json.loads(message) for message in reversed(await redis.lrange(names.QUEUE, 0, -1))]


async def test_a_batch_is_a_task_message_that_names_its_task(dispatcher: Dispatcher, redis: Redis) -> None:
    assert await dispatcher.send(batch(), False)
    (message,) = await queued(redis)
    headers = message["headers"]
    assert isinstance(headers, dict)
    assert headers["task"] == names.RELAY_TASK
    assert message["content-type"] == CONTENT_TYPE


async def test_a_worker_reads_the_batch_from_the_body(dispatcher: Dispatcher, redis: Redis) -> None:
    await dispatcher.send(batch(), False)
    (message,) = await queued(redis)
    assert read_batch(message) == batch()


async def test_no_header_shows_the_texts_of_a_batch(dispatcher: Dispatcher, redis: Redis) -> None:
    await dispatcher.send(batch(), False)
    (message,) = await queued(redis)
    assert SECRET in str(b64decode(str(message.pop("body"))))
    assert SECRET not in json.dumps(message)


async def test_batches_lie_on_the_queue_in_order(dispatcher: Dispatcher, redis: Redis) -> None:
    for number in range(3):
        await dispatcher.send(batch(number), False)
    assert [read_batch(message) for message in await queued(redis)] == [batch(0), batch(1), batch(2)]


async def test_each_sending_of_a_batch_is_a_message_of_its_own(dispatcher: Dispatcher, redis: Redis) -> None:
    for _ in range(2):
        await dispatcher.send(batch(), False)
    first, second = [message["headers"] for message in await queued(redis)]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["id"] != second["id"]


async def test_a_lane_in_trouble_adds_nothing_to_a_long_queue(
    dispatcher: Dispatcher, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BACKLOG", 2)
    assert [await dispatcher.send(batch(), True) for _ in range(3)] == [True, True, False]
    assert await dispatcher.send(batch(), False)
    assert await redis.llen(names.QUEUE) == 3


@pytest.mark.parametrize("cautious", [False, True])
async def test_a_redis_that_is_gone_takes_no_batch(redis_that_is_gone: Redis, cautious: bool) -> None:
    dispatcher = Dispatcher(redis_that_is_gone)
    assert not await dispatcher.send(batch(), cautious)
