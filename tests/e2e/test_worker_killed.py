"""A worker that is killed in the middle of its work costs time and nothing else."""

import asyncio
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment

SENDERS = 20
MESSAGES = 100
DEADLINE_S = 10.0


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
