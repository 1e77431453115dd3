"""A crashed edge loses its connections and nothing else."""

import asyncio

from tests.conftest import ClientFactory, DeploymentFactory, Name

MESSAGES = 20


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
    await bob.expect("connection_success", count=2, timeout_s=20)
    await bob.expect("new_message", lambda message: message["text"] == str(MESSAGES - 1))
    texts = [message["text"] for message in bob.of("new_message") if message["text"] != "before"]
    assert texts == [str(number) for number in range(MESSAGES)]


async def test_peers_of_a_killed_edge_are_told_offline_when_its_lease_has_ended(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(lease_s=2, lease_refresh_s=0.5, sweep_s=1).start(edges=2)
    alice = await client(name("alice")).connect(chat.edges[0])
    bob = await client(name("bob")).connect(chat.edges[1])
    ack = await alice.call("join_chat", {"username": bob.username})
    assert ack["peer"]["online"]
    chat.edges[1].kill()
    # Before the default lease, 15 s, would have ended.
    status = await alice.expect("user_status", lambda status: status["status"] == "offline", timeout_s=10)
    assert status["userId"] == bob.user_id


async def test_peers_are_told_at_once_when_an_edge_stops_in_order(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy().start(edges=2, beat=False)
    alice = await client(name("alice")).connect(chat.edges[0])
    people = [await client(name(f"bob{number}")).connect(chat.edges[1]) for number in range(30)]
    for person in people:
        await alice.call("join_chat", {"username": person.username})
    await asyncio.to_thread(chat.edges[1].stop)
    await alice.expect("user_status", lambda status: status["status"] == "offline", count=len(people))
