"""Each socket of a user is served independently of the user's other sockets."""

import asyncio
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from infra.wire import names
from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.e2e.conftest import Arrive
from tests.harness.client import Client, Payload
from tests.harness.deployment import Deployment
from tests.harness.waiting import until

BACKLOG = 300
MISSED = 20
LEASE_S = 6
"""Short, but an edge on a busy machine does not lose it."""

WHERE = pytest.mark.parametrize("places", [(0, 0), (0, 1)], ids=["one edge", "two edges"])
"""On which edges the two sockets are."""


def texts(client: Client) -> list[str]:
    return [message["text"] for message in client.of("new_message")]


def status_of(client: Client, status: str) -> Callable[[Payload], bool]:
    return lambda told: told["userId"] == client.user_id and told["status"] == status


async def send_numbers(sender: Client, username: str, count: int) -> None:
    acks = await asyncio.gather(*(sender.send(username, str(number)) for number in range(count)))
    assert all(ack["success"] for ack in acks)


@WHERE
@pytest.mark.parametrize("acks", [True, False], ids=["both ack", "one never acks"])
async def test_two_sockets_that_connect_at_once_both_get_the_whole_backlog(
    two_edges: Deployment, arrive: Arrive, name: Name, places: tuple[int, int], acks: bool
) -> None:
    edge, other = (two_edges.edges[place] for place in places)
    await (await arrive(name("bob"), edge)).close()
    alice = await arrive(name("alice"), edge)
    await send_numbers(alice, name("bob"), BACKLOG)
    bobs = await asyncio.gather(arrive(name("bob"), edge), arrive(name("bob"), other, acks=acks))
    for bob in bobs:
        await bob.expect("new_message", count=BACKLOG)
        await bob.settle()
        assert texts(bob) == [str(number) for number in range(BACKLOG)]


@WHERE
async def test_a_user_who_connects_two_sockets_at_once_is_reported_online(
    two_edges: Deployment, arrive: Arrive, name: Name, places: tuple[int, int]
) -> None:
    edge, other = (two_edges.edges[place] for place in places)
    alice = await arrive(name("alice"), edge)
    people = [await arrive(name(f"bob{number}"), edge) for number in range(10)]
    for person in people:
        await alice.follow(person)
        await person.close()
        await alice.expect("user_status", status_of(person, "offline"))
    before = len(alice.received)
    await asyncio.gather(*(arrive(person.username, place) for person in people for place in (edge, other)))
    for person in people:
        told_before = sum(
            event == "user_status" and status_of(person, "online")(told)
            for event, told in alice.received[:before]
        )
        await alice.expect("user_status", status_of(person, "online"), count=told_before + 1)


async def test_a_socket_of_an_edge_that_was_given_up_gets_what_its_user_acked_elsewhere(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(lease_s=LEASE_S, lease_refresh_s=0.5, sweep_s=1).start(edges=2)
    one, other = chat.edges
    alice, near = [await client(name(base)).connect(one) for base in ("alice", "bob")]
    far, witness = [await client(name(base)).connect(other) for base in ("bob", "carol")]
    await alice.follow(witness)
    await edge_id_of(chat, witness)
    with other.paused():
        assert chat.lease_left_s() <= LEASE_S
        await alice.expect("user_status", status_of(witness, "offline"))
        await send_numbers(alice, near.username, MISSED)
        await alice.expect("message_status", lambda status: status["upTo"] == MISSED)
    await far.expect("new_message", count=MISSED)
    assert texts(far) == texts(near) == [str(number) for number in range(MISSED)]
    assert far.of("disconnect") == []


async def test_a_socket_of_an_edge_that_lost_its_stream_gets_what_its_user_acked_elsewhere(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(lease_refresh_s=0.5).start(edges=2)
    one, other = chat.edges
    alice, near = [await client(name(base)).connect(one) for base in ("alice", "bob")]
    far, witness = [await client(name(base)).connect(other) for base in ("bob", "carol")]
    edge_id = await edge_id_of(chat, witness)
    with other.paused():
        await lose_stream_of(chat, edge_id)
        await send_numbers(alice, near.username, MISSED)
        await alice.expect("message_status", lambda status: status["upTo"] == MISSED)
    await far.expect("new_message", count=MISSED)
    assert texts(far) == texts(near) == [str(number) for number in range(MISSED)]
    assert far.of("disconnect") == []


async def edge_id_of(chat: Deployment, client: Client) -> str:
    """Wait until Redis knows the one edge that the user is on."""
    async with Redis.from_url(chat.store.redis_url) as redis:
        key = names.user_edges_key(client.user_id)
        (edge_id,) = await until(lambda: redis.smembers(key), "Redis knows the user's edge")
        return str(edge_id.decode())


async def lose_stream_of(chat: Deployment, edge_id: str) -> None:
    async with Redis.from_url(chat.store.redis_url) as redis:
        assert await redis.delete(names.inbox_key(edge_id)) == 1
