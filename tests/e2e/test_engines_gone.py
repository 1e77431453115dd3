"""When Redis or Postgres is down, every request is answered by its deadline and service resumes by itself."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from infra.settings.edge import EdgeSettings
from infra.wire import names
from tests.conftest import ClientFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge
from tests.harness.engines import Engines
from tests.harness.waiting import until

DEADLINE_S = 4.0
LONG_DEADLINE_S = 60.0
"""Nothing that these tests break lasts so long, on the busiest machine."""
RESUMED_S = 15.0
"""How long requests may wait once an engine is back. Workers look for Redis every second, and edges send a
batch again after 0.5 s; the rest is for a busy machine."""

Pair = tuple[Client, Client]


@pytest.fixture(scope="module")
def own_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """Start engines that these tests may kill."""
    engines = Engines(tmp_path_factory.mktemp("own-engines"))
    engines.start()
    yield engines
    engines.stop()


@pytest.fixture(scope="module")
def own_chat(own_engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Start a chat on them with a short deadline and a short lease."""
    deployment = Deployment(
        own_engines.new_store(),
        tmp_path_factory.mktemp("own-chat"),
        forked=True,
        deadline_s=DEADLINE_S,
        redispatch_s=0.5,
        lease_refresh_s=1,
        # The sweep must not make up for messages that were missed.
        sweep_after_s=600,
    )
    yield deployment.start(workers=1)
    deployment.stop()


@pytest.fixture
async def pair(own_chat: Deployment, client: ClientFactory, name: Name) -> Pair:
    """Connect two people."""
    return await two_people(own_chat.edges[0], client, name)


@pytest.fixture(scope="module")
def patient_edge(own_chat: Deployment) -> Edge:
    """Start an edge with a long deadline: a busy machine needs seconds to start Postgres."""
    return own_chat.start_edge(deadline_s=LONG_DEADLINE_S)


@pytest.fixture
async def patient_pair(patient_edge: Edge, client: ClientFactory, name: Name) -> Pair:
    """Connect two people to that edge."""
    return await two_people(patient_edge, client, name)


@pytest.mark.parametrize("engine", ["valkey", "postgres"])
async def test_a_long_outage_is_answered_by_the_deadline_and_ends_by_itself(
    own_engines: Engines, pair: Pair, engine: str
) -> None:
    alice, bob = pair
    gone = getattr(own_engines, engine)
    gone.kill()
    started = time.monotonic()
    ack = await alice.send(bob.username, "too early", clientId="early")
    assert (ack["code"], ack["retryable"]) == ("unavailable", True)
    # By its own deadline, and not by the default one.
    assert time.monotonic() - started < EdgeSettings.model_fields["deadline_s"].default
    gone.start()
    await asyncio.to_thread(gone.wait_ready)
    acks = await _send_until_acked(alice, bob, "early")
    assert acks[-1]["success"]
    await bob.expect("new_message", lambda message: message["id"] == acks[-1]["message"]["id"])


async def test_edges_tell_operators_that_workers_cannot_reach_postgres(
    own_engines: Engines, own_chat: Deployment
) -> None:
    own_engines.postgres.kill()
    await until(lambda: own_chat.edges[0].readiness()["workers"] == "unavailable", "the edge says so")
    assert own_chat.edges[0].readiness()["reason"] == "the workers cannot reach Postgres"
    own_engines.postgres.start()
    await asyncio.to_thread(own_engines.postgres.wait_ready)
    await until(lambda: own_chat.edges[0].readiness()["workers"] == "answering", "all is well again")


@pytest.mark.parametrize("engine", ["valkey", "postgres"])
async def test_nobody_notices_a_short_outage(own_engines: Engines, patient_pair: Pair, engine: str) -> None:
    alice, bob = patient_pair
    gone = getattr(own_engines, engine)
    gone.kill()
    sending = asyncio.gather(*(alice.send(bob.username, str(number)) for number in range(20)))
    gone.start()
    await asyncio.to_thread(gone.wait_ready)
    async with asyncio.timeout(RESUMED_S):
        assert [ack for ack in await sending if not ack["success"]] == []
    await bob.expect("new_message", count=20)


@pytest.mark.parametrize("loss", ["everything", "stream", "lease"])
async def test_after_redis_loses_its_data_edges_register_again_and_nothing_is_missed(
    own_chat: Deployment, patient_pair: Pair, loss: str
) -> None:
    alice, bob = patient_pair
    redis = Redis.from_url(own_chat.store.redis_url)
    _forget(redis, loss)
    acks = [await alice.send(bob.username, str(number)) for number in range(5)]
    redis.close()
    assert all(ack["success"] for ack in acks)
    await bob.expect("new_message", count=5)
    assert [message["text"] for message in bob.of("new_message")] == list("01234")


def _forget(redis: Redis, loss: str) -> None:
    if loss == "everything":
        redis.flushall()
        return
    keys: Any = redis.keys(names.inbox_key("*") if loss == "stream" else names.LEASES_KEY)
    assert keys
    redis.delete(*keys)


async def two_people(edge: Edge, client: ClientFactory, name: Name) -> Pair:
    return await client(name("alice")).connect(edge), await client(name("bob")).connect(edge)


async def _send_until_acked(sender: Client, recipient: Client, client_id: str) -> list[Any]:
    """Retry as a client would, until the answer is not retryable."""
    acks: list[Any] = []
    while not acks or acks[-1].get("retryable"):
        acks.append(await sender.send(recipient.username, "again", clientId=client_id))
    return acks
