"""Batches and inbox entries that only a newer release can read: nobody dies of them, and nothing is lost."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import uuid_utils
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from infra.wire import batch, inbox, names
from infra.wire.batch import Batch, Event
from infra.wire.errors import ErrorCode
from infra.wire.inbox import InboxEntry, decode_entry
from socket_edge.relay.dispatch import Dispatcher
from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.deployment import Deployment, Part, user_id_of
from tests.harness.waiting import until

FUTURE = "edge-of-the-future"


@pytest.fixture
def chat(deploy: DeploymentFactory) -> Deployment:
    """An edge and a worker, whose sweep makes up at once for what an edge could not read."""
    return deploy(sweep_s=0.5, sweep_after_s=1, redispatch_s=0.5).start()


@pytest.fixture
def redis(chat: Deployment) -> Iterator[Redis]:
    with Redis.from_url(chat.store.redis_url) as redis:
        yield redis


def logged(part: Part, event: str) -> list[dict[str, Any]]:
    """Return the lines of a process about an event."""
    return [json.loads(line) for line in part.log.splitlines() if f'"{event}"' in line]


async def give_from_the_future(chat: Deployment, username: str, text: str) -> str:
    """Put a batch on the queue as an edge of the next release might; return its id."""
    payload = msgspec.Raw(msgspec.json.encode({"username": username, "text": text}))
    event = Event(str(uuid_utils.uuid7()), "send_message", user_id_of(username), "socket", payload)
    newer = Batch(uuid_utils.uuid7().hex, FUTURE, [event], batch.VERSION + 1)
    async with AsyncRedis.from_url(chat.store.redis_url) as redis:
        dispatcher = Dispatcher(redis)
        assert await dispatcher.send(newer, False)
    return newer.id


async def test_a_worker_asks_for_a_batch_that_is_too_new_again_and_goes_on(
    chat: Deployment, redis: Redis, client: ClientFactory, name: Name
) -> None:
    alice = await client(name("alice")).connect(chat.edges[0])
    redis.xadd(names.inbox_key(FUTURE), {names.INBOX_FIELD: b""}, id="0-1")
    given = [await give_from_the_future(chat, alice.username, "from the future") for _ in range(3)]

    def answers() -> list[InboxEntry]:
        found: Any = redis.xrange(names.inbox_key(FUTURE), "0-2", "+")
        return [decode_entry(fields[names.INBOX_FIELD]) for _, fields in found]

    await until(lambda: len(answers()) == len(given), "all are answered")
    assert [(one.batch_id, one.retry) for one in answers()] == [(id, ErrorCode.UNAVAILABLE) for id in given]
    assert (await alice.send(alice.username, "from today"))["success"]
    (line,) = logged(chat.workers[0], "batch_too_new")
    assert (line["edge"], line["version"], line["level"]) == (FUTURE, batch.VERSION + 1, "error")
    assert "from the future" not in chat.workers[0].log
    assert [row.text for row in chat.rows("SELECT text FROM messages")] == ["from today"]


async def test_an_edge_passes_over_entries_that_are_too_new_and_goes_on(
    chat: Deployment, redis: Redis, client: ClientFactory, name: Name
) -> None:
    alice = await client(name("alice")).connect(chat.edges[0])
    ((edge_id, _),) = redis.zscan_iter(names.LEASES_KEY)
    head = msgspec.json.encode({"v": inbox.VERSION + 1, "answers": "from the future"})
    entries: tuple[dict[Any, Any], ...] = (
        {names.INBOX_FIELD: head + b"\nnot even JSON"},
        {names.INBOX_FIELD: head},
        {b"f": b"field"},
    )
    for entry in entries:
        redis.xadd(names.inbox_key(edge_id.decode()), entry, nomkstream=True)
    assert (await alice.send(alice.username, "from today"))["success"]
    await alice.expect("new_message", lambda message: message["text"] == "from today")
    (line,) = logged(chat.edges[0], "inbox_entry_too_new")
    assert (line["version"], line["level"]) == (inbox.VERSION + 1, "error")
    assert len(logged(chat.edges[0], "inbox_entry_unreadable")) == 1
    assert "from the future" not in chat.edges[0].log


async def test_a_message_in_an_entry_that_is_too_new_comes_with_the_next_sweep(
    chat: Deployment, redis: Redis, client: ClientFactory, name: Name
) -> None:
    """A worker of the next release has stored and published it, and its answer could not be read either."""
    bob = await client(name("bob")).connect(chat.edges[0])
    alice = await client(name("alice")).connect(chat.edges[0])
    assert (await alice.send(bob.username, "first"))["success"]
    chat.rows(
        """
        WITH next AS (
            UPDATE chats SET last_seq = 2, sweep_at = now(), last_to_lo = NULL, last_to_hi = NULL
            RETURNING id
        )
        INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
        SELECT id, 2, gen_random_uuid(), :alice, :bob, 'stored by the future', now() FROM next
        """,
        alice=alice.user_id,
        bob=bob.user_id,
    )
    await bob.expect("new_message", lambda message: message["text"] == "stored by the future")
