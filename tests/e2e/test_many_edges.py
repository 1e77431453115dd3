"""Two edges and two workers on one store behave as one chat."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from infra.wire import names
from infra.wire.events import UNREAD_CHANGED
from infra.wire.inbox import decode_entry
from tests.conftest import Name
from tests.e2e.conftest import Arrive
from tests.harness.client import Client, Payload
from tests.harness.deployment import Deployment, Edge
from tests.harness.waiting import PATIENCE_S


@pytest.fixture
def one(two_edges: Deployment) -> Edge:
    return two_edges.edges[0]


@pytest.fixture
def other(two_edges: Deployment) -> Edge:
    return two_edges.edges[1]


@pytest.fixture
async def redis_of_both_edges(two_edges: Deployment) -> AsyncIterator[Redis]:
    redis = Redis.from_url(two_edges.store.redis_url, socket_timeout=30)
    yield redis
    await redis.aclose()


async def edges_of(redis: Redis, client: Client) -> set[str]:
    edges: Any = await redis.smembers(names.user_edges_key(client.user_id))
    return {edge.decode() for edge in edges}


async def emits_to(redis: Redis, edge_id: str, client: Client) -> list[str]:
    """Return the events that the inbox stream of an edge holds for a user, without the totals at a connect.

    Workers of the last release send none.
    """
    stream: Any = await redis.xrange(names.inbox_key(edge_id))
    entries = [decode_entry(fields[names.INBOX_FIELD]) for _, fields in stream]
    targets = [target for entry in entries for emit in entry.emits for target in emit.to]
    events = [target.event for target in targets if target.user_id == client.user_id]
    return [event for event in events if event != UNREAD_CHANGED]


def online(client: Client) -> Callable[[Payload], bool]:
    return lambda status: status["userId"] == client.user_id and status["status"] == "online"


def offline(client: Client) -> Callable[[Payload], bool]:
    return lambda status: status["userId"] == client.user_id and status["status"] == "offline"


async def test_users_on_different_edges_talk(one: Edge, other: Edge, arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"), one)
    bob = await arrive(name("bob"), other)
    await alice.send(bob.username, "How are you?")
    await bob.expect("new_message")
    await bob.send(alice.username, "Fine!")
    assert (await alice.expect("new_message"))["text"] == "Fine!"
    assert [message["seq"] for _, message in alice.received if "seq" in (message or {})] == [1, 2]


async def test_a_delivery_on_one_edge_is_reported_to_the_sender_on_the_other(
    one: Edge, other: Edge, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"), one)
    bob = await arrive(name("bob"), other)
    await alice.send(bob.username, "Hello")
    status = await alice.expect("message_status")
    assert (status["status"], status["userId"], status["upTo"]) == ("delivered", bob.user_id, 1)


async def test_every_socket_of_the_recipient_gets_every_message(
    one: Edge, other: Edge, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"), one)
    bobs = [await arrive(name("bob"), edge) for edge in (one, one, other)]
    await asyncio.gather(*(alice.send(bobs[0].username, str(number)) for number in range(20)))
    for bob in bobs:
        await bob.expect("new_message", count=20)
        assert [message["text"] for message in bob.of("new_message")] == [str(n) for n in range(20)]


async def test_every_socket_of_the_sender_is_told_of_a_sent_message(
    one: Edge, other: Edge, arrive: Arrive, name: Name
) -> None:
    alices = [await arrive(name("alice"), edge) for edge in (one, one, other)]
    bob = await arrive(name("bob"), other)
    ack = await alices[0].send(bob.username, "Hello")
    for alice in alices:
        assert await alice.expect("message_sent") == ack["message"]
        assert alice.of("new_message") == []


async def test_a_note_to_self_reaches_all_sockets_of_the_user(
    one: Edge, other: Edge, arrive: Arrive, name: Name
) -> None:
    alices = [await arrive(name("alice"), edge) for edge in (one, other)]
    await alices[0].send(alices[0].username, "Buy milk")
    for alice in alices:
        await alice.expect("message_sent")
        assert (await alice.expect("new_message"))["text"] == "Buy milk"


async def test_messages_in_both_directions_over_both_edges_have_one_order(
    one: Edge, other: Edge, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"), one)
    bob = await arrive(name("bob"), other)
    await asyncio.gather(
        *(alice.send(bob.username, f"a{number}") for number in range(100)),
        *(bob.send(alice.username, f"b{number}") for number in range(100)),
    )
    for sender, recipient, letter in ((alice, bob, "a"), (bob, alice, "b")):
        await recipient.expect("new_message", count=100)
        await sender.expect("message_sent", count=100)
        assert [m["text"] for m in recipient.of("new_message")] == [f"{letter}{n}" for n in range(100)]
    seqs = [m["seq"] for m in (*alice.of("new_message"), *alice.of("message_sent"))]
    assert sorted(seqs) == list(range(1, 201))


async def test_an_edge_that_holds_nobody_concerned_gets_no_entry(
    one: Edge, other: Edge, arrive: Arrive, name: Name, redis_of_both_edges: Redis
) -> None:
    alice, carol = await arrive(name("alice"), one), await arrive(name("carol"), one)
    bob = await arrive(name("bob"), other)
    await carol.send(alice.username, "Between us")
    await carol.expect("message_status")
    (there,) = await edges_of(redis_of_both_edges, bob)
    assert [await emits_to(redis_of_both_edges, there, user) for user in (alice, carol)] == [[], []]


async def test_each_edge_gets_what_its_users_are_sent_and_passes_over_the_others(
    one: Edge, other: Edge, arrive: Arrive, name: Name, redis_of_both_edges: Redis
) -> None:
    alice = await arrive(name("alice"), one)
    bob = await arrive(name("bob"), other)
    await alice.send(bob.username, "Hello")
    await alice.expect("message_status")
    (here,), (there,) = await edges_of(redis_of_both_edges, alice), await edges_of(redis_of_both_edges, bob)
    assert here != there
    assert await emits_to(redis_of_both_edges, here, alice) == ["message_sent", "message_status"]
    assert await emits_to(redis_of_both_edges, there, bob) == ["new_message"]
    assert len(alice.of("message_sent")) == len(bob.of("new_message")) == 1
    assert not alice.of("new_message")
    assert not bob.of("message_sent")


async def test_each_edge_reads_its_own_stream_and_no_other(
    one: Edge, other: Edge, arrive: Arrive, name: Name, redis_of_both_edges: Redis
) -> None:
    alice = await arrive(name("alice"), one)
    bob = await arrive(name("bob"), other)
    expected = {
        names.inbox_key(edge)
        for edge in await edges_of(redis_of_both_edges, alice) | await edges_of(redis_of_both_edges, bob)
    }
    readers: dict[str, set[str]] = {}
    async with redis_of_both_edges.monitor() as monitor, asyncio.timeout(PATIENCE_S):
        await alice.send(bob.username, "Hello")
        while not (expected <= readers.keys() and alice.of("message_status")):
            command = await monitor.next_command()
            words = command["command"].split()
            if words[0].upper() == "XREAD":
                keys = words[words.index("STREAMS") + 1 :]
                assert len(keys) == 2, "one stream, and where to go on in it"
                readers.setdefault(keys[0], set()).add(
                    f"{command['client_address']}:{command['client_port']}"
                )
    assert all(len(connections) == 1 for connections in readers.values())


async def test_peers_who_have_joined_are_told_who_comes_and_goes(
    one: Edge, other: Edge, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"), one)
    bob = await arrive(name("bob"), other)
    joined = await alice.follow(bob)
    assert joined["peer"]["online"]
    await bob.close()
    status = await alice.expect("user_status", offline(bob))
    assert status["username"] == bob.username
    assert status["lastSeen"] is not None
    before = len([one for one in alice.of("user_status") if online(bob)(one)])
    await arrive(bob.username, other)
    await alice.expect("user_status", online(bob), count=before + 1)


async def test_a_user_who_has_not_joined_a_chat_is_told_nothing_about_its_members(
    one: Edge, other: Edge, arrive: Arrive, name: Name
) -> None:
    alice, carol = await arrive(name("alice"), one), await arrive(name("carol"), one)
    bob = await arrive(name("bob"), other)
    await alice.follow(bob)
    await bob.send(carol.username, "Hello")
    await carol.expect("new_message")
    await bob.close()
    await alice.expect("user_status", offline(bob))
    await carol.call("list_chats", {})
    assert carol.of("user_status") == []


async def test_a_user_stays_online_until_the_last_socket_is_gone(
    one: Edge, other: Edge, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"), one)
    bobs = [await arrive(name("bob"), edge) for edge in (one, other)]
    await alice.follow(bobs[0])
    await bobs[0].close()
    await alice.expect("user_status", online(bobs[0]))
    await bobs[1].close()
    await alice.expect("user_status", offline(bobs[1]))
    assert [one["status"] for one in alice.of("user_status")].count("offline") == 1


async def test_typing_goes_to_the_other_side_only(one: Edge, other: Edge, arrive: Arrive, name: Name) -> None:
    alices = [await arrive(name("alice"), edge) for edge in (one, other)]
    bobs = [await arrive(name("bob"), edge) for edge in (one, other)]
    stranger = await arrive(name("carol"), other)
    joined = await alices[0].call("join_chat", {"username": bobs[0].username})
    await alices[0].sio.emit("typing", {"username": bobs[0].username, "isTyping": True})
    await alices[0].sio.emit("typing", {"chatId": joined["chatId"], "isTyping": False})
    for bob in bobs:
        await bob.expect("typing", count=2)
        assert [(one["userId"], one["isTyping"]) for one in bob.of("typing")] == [
            (alices[0].user_id, True),
            (alices[0].user_id, False),
        ]
    for client in (*alices, stranger):
        await client.call("list_chats", {})
        assert client.of("typing") == []


async def test_mark_as_read_keeps_the_readers_other_sockets_in_step(
    one: Edge, other: Edge, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"), one)
    reader, near, far = [await arrive(name("bob"), edge) for edge in (one, one, other)]
    ack = await alice.send(reader.username, "Hello")
    await reader.expect("new_message")
    await reader.call("mark_as_read", {"chatId": ack["message"]["chatId"]})
    for client in (near, far, alice):
        status = await client.expect("message_status", lambda status: status["status"] == "read")
        assert (status["userId"], status["upTo"]) == (reader.user_id, 1)
    await reader.call("list_chats", {})
    assert [one for one in reader.of("message_status") if one["status"] == "read"] == []
