"""A crashed edge loses its connections and nothing else."""

import asyncio
from contextlib import AsyncExitStack

from redis import Redis

from infra.wire import names
from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.deployment import show_to_everyone, with_profile
from tests.harness.raw import RawPolling

MESSAGES = 20
LEASE_S = 6
"""Short, but an edge on a busy machine does not lose it."""


async def test_clients_of_a_killed_edge_resume_on_the_next_one_with_nothing_missed(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy().start(edges=2)
    doomed, other = chat.edges
    alice = await client(name("alice")).connect(other)
    bob = await client(name("bob"), reconnection=True).connect(doomed)
    assert (await alice.send(bob.username, "before"))["success"]
    await bob.expect("new_message")

    doomed.kill()
    acks = [await alice.send(bob.username, str(number)) for number in range(MESSAGES)]
    chat.start_edge(port=doomed.port)

    assert all(ack["success"] for ack in acks)
    await bob.expect("connection_success", count=2)
    await bob.expect("new_message", lambda message: message["text"] == str(MESSAGES - 1))
    texts = [message["text"] for message in bob.of("new_message") if message["text"] != "before"]
    assert texts == [str(number) for number in range(MESSAGES)]


async def test_peers_of_a_killed_edge_are_told_offline_when_its_lease_has_ended(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(lease_s=LEASE_S, lease_refresh_s=0.5, sweep_s=1).start(edges=2)
    alice = await client(name("alice")).connect(chat.edges[0])
    bob = await client(name("bob")).connect(chat.edges[1])
    ack = await alice.follow(bob)
    assert ack["peer"]["online"]
    chat.edges[1].kill()
    assert chat.lease_left_s() <= LEASE_S
    status = await alice.expect("user_status", lambda status: status["status"] == "offline")
    assert status["userId"] == bob.user_id


async def test_peers_are_told_at_once_when_an_edge_stops_in_order(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy().start(edges=2, beat=False)
    alice = await client(name("alice")).connect(chat.edges[0])
    people = [await client(name(f"bob{number}")).connect(chat.edges[1]) for number in range(30)]
    for person in people:
        await alice.follow(person)
    await asyncio.to_thread(chat.edges[1].stop)
    await alice.expect("user_status", lambda status: status["status"] == "offline", count=len(people))


async def test_peers_of_polling_clients_are_told_when_an_edge_stops_in_order(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy().start(edges=2, beat=False)
    alice = await client(name("alice")).connect(chat.edges[0])
    people = [with_profile(chat, name(f"bob{number}")) for number in range(5)]
    for person in people:
        show_to_everyone(chat, person)
        await alice.call("join_chat", {"username": person})
    async with AsyncExitStack() as stack:
        for person in people:
            await stack.enter_async_context(RawPolling(chat.edges[1], person))
        await alice.expect("user_status", lambda status: status["status"] == "online", count=len(people))
        await asyncio.to_thread(chat.edges[1].stop)
        await alice.expect("user_status", lambda status: status["status"] == "offline", count=len(people))


async def test_peers_are_told_by_the_sweep_when_an_edge_stops_without_a_worker(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(sweep_s=1).start(edges=2)
    alice = await client(name("alice")).connect(chat.edges[0])
    bob = with_profile(chat, name("bob"))
    show_to_everyone(chat, bob)
    await alice.call("join_chat", {"username": bob})
    async with RawPolling(chat.edges[1], bob):
        await alice.expect("user_status", lambda status: status["status"] == "online")
        for worker in chat.workers:
            worker.kill()
        await asyncio.to_thread(chat.edges[1].stop)
        with Redis.from_url(chat.store.redis_url) as redis:
            redis.delete(names.QUEUE)
        chat.start_worker()
        await alice.expect("user_status", lambda status: status["status"] == "offline")
