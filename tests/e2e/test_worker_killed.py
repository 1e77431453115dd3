"""A worker that is killed in the middle of its work costs time and nothing else."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment
from tests.harness.hook_endpoint import HookEndpoint

SENDERS = 20
MESSAGES = 100
DEADLINE_S = 10.0
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def hook_endpoint() -> Iterator[HookEndpoint]:
    endpoint = HookEndpoint()
    yield endpoint
    endpoint.stop()


@pytest.mark.parametrize("workers", [1, 2])
async def test_kill_of_a_worker_in_the_middle_of_2000_sends(
    deploy: DeploymentFactory, client: ClientFactory, name: Name, workers: int
) -> None:
    chat = deploy(deadline_s=DEADLINE_S).start(workers=workers)
    recipient = await client(name("recipient")).connect(chat.edges[0])
    senders = [await client(name(f"sender{number}")).connect(chat.edges[0]) for number in range(SENDERS)]
    assert (await senders[0].send(recipient.username, "warm-up"))["success"]

    sending = asyncio.gather(*(_send_all(sender, recipient.username) for sender in senders))
    await recipient.expect("new_message", count=SENDERS * MESSAGES // 4)
    chat.workers[0].kill()
    if workers == 1:
        chat.start_worker()
    answers = dict(zip((sender.user_id for sender in senders), await sending, strict=True))

    for ack in (ack for acks in answers.values() for ack in acks):
        assert ack["success"] or ack["retryable"], ack
    acked = {ack["message"]["id"] for acks in answers.values() for ack in acks if ack["success"]}
    await recipient.expect("new_message", lambda m: m["id"] in acked, count=len(acked))
    _check_store(chat, acked)
    _check_deliveries(recipient, acked)


async def test_the_backend_is_to_hear_of_each_message_once_whenever_a_worker_is_killed(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(deadline_s=DEADLINE_S, webhooks="app").start(workers=2)
    recipient = await client(name("recipient")).connect(chat.edges[0])
    senders = [await client(name(f"sender{number}")).connect(chat.edges[0]) for number in range(SENDERS)]
    sending = asyncio.gather(*(_send_all(sender, recipient.username) for sender in senders))
    await recipient.expect("new_message", count=SENDERS * MESSAGES // 4)
    chat.workers[0].kill()
    acked = {ack["message"]["id"] for acks in await sending for ack in acks if ack["success"]}
    _check_store(chat, acked)
    _check_outbox(chat)


async def test_a_worker_that_is_killed_while_it_asks_the_hook_stores_nothing_and_another_one_asks_again(
    deploy: DeploymentFactory, client: ClientFactory, name: Name, hook_endpoint: HookEndpoint
) -> None:
    is_asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_: object) -> None:
        loop.call_soon_threadsafe(is_asked.set)
        hook_endpoint.released.wait()

    hook = {"hook_url": hook_endpoint.url, "hook_secrets": SECRET, "hook_failure": "closed"}
    chat = deploy(deadline_s=DEADLINE_S, hook_timeout_s=5, **hook).start(workers=1)
    recipient = await client(name("recipient")).connect(chat.edges[0])
    sender = await client(name("sender")).connect(chat.edges[0])
    hook_endpoint.misbehave = hang
    sending = asyncio.create_task(sender.send(recipient.username, "hello"))
    async with asyncio.timeout(DEADLINE_S):
        await is_asked.wait()
    chat.workers[0].kill()
    assert chat.rows("SELECT FROM messages") == []
    hook_endpoint.misbehave = None
    hook_endpoint.decide = lambda message: {"action": "change", "text": f"{message['text']}!"}
    chat.start_worker()
    ack = await sending
    assert ack["success"], ack
    assert ack["message"]["text"] == "hello!"
    assert {message["id"] for messages in hook_endpoint.asked for message in messages} == {
        ack["message"]["id"]
    }
    assert [row.text for row in chat.rows("SELECT text FROM messages")] == ["hello!"]
    await recipient.expect("new_message", lambda m: m["text"] == "hello!")


async def _send_all(sender: Client, username: str) -> list[Any]:
    """Send everything at once without waiting for acks; return the acks in order."""
    acks = []
    for number in range(MESSAGES):
        ack: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        payload = {"username": username, "text": str(number), "clientId": str(number)}
        await sender.sio.emit("send_message", payload, callback=ack.set_result)
        acks.append(ack)
        await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE_S + 5):
        return await asyncio.gather(*acks)


def _check_store(chat: Deployment, acked: set[str]) -> None:
    rows = chat.rows("SELECT id, chat_id, seq, sender_id, client_id FROM messages ORDER BY chat_id, seq")
    assert len({(row.sender_id, row.client_id) for row in rows}) == len(rows)
    assert acked <= {str(row.id) for row in rows}
    by_chat = defaultdict(list)
    for row in rows:
        by_chat[row.chat_id].append(row)
    for messages in by_chat.values():
        assert [row.seq for row in messages] == list(range(1, len(messages) + 1))
        numbers = [int(row.client_id) for row in messages if row.client_id is not None]
        assert numbers == sorted(numbers)


def _check_deliveries(recipient: Client, acked: set[str]) -> None:
    delivered = recipient.of("new_message")
    ids = [message["id"] for message in delivered]
    assert len(set(ids)) == len(ids)
    assert acked <= set(ids)
    by_sender = defaultdict(list)
    for message in delivered:
        by_sender[message["senderId"]].append(message["seq"])
    for seqs in by_sender.values():
        assert all(one < other for one, other in pairwise(seqs))


def _check_outbox(chat: Deployment) -> None:
    """The app's backend is to hear of each message that is stored, once and in order, and of no other."""
    stored = chat.rows("SELECT id, chat_id FROM messages ORDER BY chat_id, seq")
    told = chat.rows(
        "SELECT id, about AS chat_id FROM outbox WHERE event = 'message.created' ORDER BY about, number"
    )
    assert [(row.chat_id, row.id) for row in told] == [
        (row.chat_id, f"message.created/{row.id}") for row in stored
    ]
    opened = chat.rows("SELECT about FROM outbox WHERE event = 'chat.created'")
    assert sorted(row.about for row in opened) == sorted({row.chat_id for row in stored})
