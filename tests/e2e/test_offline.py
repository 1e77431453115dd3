"""Offline users receive everything when they reconnect: in order, each message once, in pages."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator

import pytest

from tests.benchmark.seeds import Chats, add
from tests.conftest import Name
from tests.e2e.conftest import Arrive
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge
from tests.harness.waiting import until

PAGE = 50


@pytest.fixture(scope="module")
def patient_edge(two_edges: Deployment) -> Iterator[Edge]:
    """An edge that waits longer for the acks of a page than any test runs."""
    edge = two_edges.start_edge(page_ack_s=600)
    yield edge
    edge.stop()


async def introduce(arrive: Arrive, edge: Edge, username: str) -> str:
    """Create a user who is offline."""
    await (await arrive(username, edge)).close()
    return username


async def send_all(sender: Client, username: str, texts: Iterable[str]) -> None:
    acks = await asyncio.gather(*(sender.send(username, text) for text in texts))
    assert all(ack["success"] for ack in acks)


def seqs_by_chat(client: Client) -> dict[str, list[int]]:
    seqs: dict[str, list[int]] = defaultdict(list)
    for message in client.of("new_message"):
        seqs[message["chatId"]].append(message["seq"])
    return seqs


async def delivered(chat: Deployment, client: Client, up_to: int) -> None:
    """Wait for the receipt in the database: no event reports messages that are already read as delivered."""
    missing = "SELECT FROM chat_members WHERE user_id = :user_id AND delivered_seq < :up_to"
    await until(
        lambda: not chat.rows(missing, user_id=client.user_id, up_to=up_to),
        f"the messages up to {up_to} are delivered",
        timeout_s=30,
    )


async def test_500_messages_arrive_on_connect_in_order_and_each_once(
    two_edges: Deployment, arrive: Arrive, name: Name
) -> None:
    edge = two_edges.edges[0]
    away = await introduce(arrive, edge, name("bob"))
    alice = await arrive(name("alice"), edge)
    await send_all(alice, away, map(str, range(500)))
    bob = await arrive(away, edge)
    await bob.expect("new_message", count=500)
    await bob.settle()
    assert [message["text"] for message in bob.of("new_message")] == [str(n) for n in range(500)]
    assert [message["seq"] for message in bob.of("new_message")] == list(range(1, 501))


async def test_messages_of_many_chats_arrive_oldest_first_and_each_once(
    two_edges: Deployment, arrive: Arrive, name: Name
) -> None:
    """The client acks at once, so that pages grow."""
    away = Chats(name("bob"), chats=70, each=15, is_delivered=False, is_read=False)
    add(two_edges.engine, away)
    bob = await arrive(away.username, two_edges.edges[0])
    await bob.expect("new_message", count=away.messages)
    await bob.settle()
    stored = two_edges.rows(
        "SELECT id FROM messages WHERE recipient_id = :bob ORDER BY created_at, chat_id, seq", bob=bob.user_id
    )
    assert [message["id"] for message in bob.of("new_message")] == [str(row.id) for row in stored]
    await delivered(two_edges, bob, away.each)


async def test_acked_messages_do_not_come_again_on_the_next_connect(
    two_edges: Deployment, arrive: Arrive, name: Name
) -> None:
    edge = two_edges.edges[0]
    away = await introduce(arrive, edge, name("bob"))
    alice = await arrive(name("alice"), edge)
    await send_all(alice, away, map(str, range(120)))
    bob = await arrive(away, edge)
    await alice.expect("message_status", lambda status: status["upTo"] == 120)
    await bob.close()
    await send_all(alice, away, ["120"])
    again = await arrive(away, edge)
    await again.expect("new_message")
    await again.settle()
    assert [message["text"] for message in again.of("new_message")] == ["120"]


async def test_a_client_gets_one_page_until_it_acks(patient_edge: Edge, arrive: Arrive, name: Name) -> None:
    away = await introduce(arrive, patient_edge, name("bob"))
    alice = await arrive(name("alice"), patient_edge)
    await send_all(alice, away, map(str, range(2 * PAGE + 10)))
    bob = await arrive(away, patient_edge, acks=False)
    await bob.expect("new_message", count=PAGE)
    await bob.settle()
    assert len(bob.of("new_message")) == PAGE
    bob.start_acking()
    await bob.expect("new_message", count=2 * PAGE + 10)
    assert [message["text"] for message in bob.of("new_message")] == [str(n) for n in range(2 * PAGE + 10)]


async def test_a_client_that_never_acks_still_gets_page_after_page(
    two_edges: Deployment, arrive: Arrive, name: Name
) -> None:
    edge = two_edges.edges[0]
    away = await introduce(arrive, edge, name("bob"))
    alice = await arrive(name("alice"), edge)
    await send_all(alice, away, map(str, range(2 * PAGE + 10)))
    bob = await arrive(away, edge, acks=False)
    await bob.expect("new_message", count=2 * PAGE + 10)
    await bob.settle()
    assert [message["text"] for message in bob.of("new_message")] == [str(n) for n in range(2 * PAGE + 10)]


async def test_marking_all_as_read_at_the_first_message_does_not_skip_the_others(
    patient_edge: Edge, arrive: Arrive, name: Name
) -> None:
    away = await introduce(arrive, patient_edge, name("bob"))
    alice = await arrive(name("alice"), patient_edge)
    await send_all(alice, away, map(str, range(500)))
    bob = await arrive(away, patient_edge, acks=False)
    first = await bob.expect("new_message")
    assert (await bob.call("mark_as_read", {"chatId": first["chatId"]}))["success"]
    bob.start_acking()
    await bob.expect("new_message", count=500)
    await bob.settle()
    assert [message["text"] for message in bob.of("new_message")] == [str(n) for n in range(500)]


async def test_messages_marked_as_read_do_not_come_again_though_never_acked(
    two_edges: Deployment, arrive: Arrive, name: Name
) -> None:
    edge = two_edges.edges[0]
    away = await introduce(arrive, edge, name("bob"))
    alice = await arrive(name("alice"), edge)
    await send_all(alice, away, map(str, range(2 * PAGE + 10)))
    bob = await arrive(away, edge, acks=False)
    last = await bob.expect("new_message", count=2 * PAGE + 10)
    assert (await bob.call("mark_as_read", {"chatId": last["chatId"]}))["success"]
    await delivered(two_edges, bob, last["seq"])
    await bob.close()
    await send_all(alice, away, ["the next one"])
    again = await arrive(away, edge)
    await again.expect("new_message", lambda message: message["text"] == "the next one")
    await again.settle()
    assert [message["text"] for message in again.of("new_message")] == ["the next one"]


async def test_live_messages_wait_for_the_backlog_of_their_chat(
    patient_edge: Edge, arrive: Arrive, name: Name
) -> None:
    away = await introduce(arrive, patient_edge, name("bob"))
    alice = await arrive(name("alice"), patient_edge)
    carol = await arrive(name("carol"), patient_edge)
    await asyncio.gather(
        send_all(alice, away, map(str, range(PAGE))), send_all(carol, away, map(str, range(PAGE)))
    )
    bob = await arrive(away, patient_edge, acks=False)
    await bob.expect("new_message", count=PAGE)
    await asyncio.gather(
        send_all(alice, away, map(str, range(PAGE, PAGE + 20))),
        send_all(carol, away, map(str, range(PAGE, PAGE + 20))),
    )
    await bob.settle()
    assert len(bob.of("new_message")) == PAGE
    bob.start_acking()
    await bob.expect("new_message", count=2 * (PAGE + 20))
    await bob.settle()
    assert list(seqs_by_chat(bob).values()) == [list(range(1, PAGE + 21))] * 2


async def test_messages_that_come_while_a_client_catches_up_keep_the_order(
    two_edges: Deployment, arrive: Arrive, name: Name
) -> None:
    edge, other = two_edges.edges[:2]
    away = await introduce(arrive, edge, name("bob"))
    alice = await arrive(name("alice"), edge)
    carol = await arrive(name("carol"), other)
    await asyncio.gather(
        send_all(alice, away, map(str, range(100))), send_all(carol, away, map(str, range(100)))
    )
    bob, *_ = await asyncio.gather(
        arrive(away, edge),
        send_all(alice, away, map(str, range(100, 250))),
        send_all(carol, away, map(str, range(100, 250))),
    )
    await bob.expect("new_message", count=500)
    await bob.settle()
    assert list(seqs_by_chat(bob).values()) == [list(range(1, 251))] * 2


async def test_a_message_to_somebody_offline_stays_sent_until_they_come(
    two_edges: Deployment, arrive: Arrive, name: Name
) -> None:
    edge = two_edges.edges[0]
    away = await introduce(arrive, edge, name("bob"))
    alice = await arrive(name("alice"), edge)
    await alice.send(away, "Hello")
    joined = await alice.call("join_chat", {"username": away})
    assert [message["status"] for message in joined["messages"]] == ["sent"]
    await arrive(away, edge)
    await alice.expect("message_status", lambda status: status["status"] == "delivered")
