"""Absent users are notified by real processes: sweep, function, queue, push, channel."""

import asyncio
import json
from typing import Any

import pytest

from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.deployment import Deployment, Part
from tests.harness.waiting import until


def logged(part: Part, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in part.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def swept(chat: Deployment) -> None:
    """Wait until the sweep has handled all chats."""
    await until(lambda: not chat.rows("SELECT FROM chats WHERE sweep_at IS NOT NULL"), "all chats are swept")


async def offline_delivery(chat: Deployment) -> str:
    """Run the function once the sweep has recorded what is undelivered."""
    await swept(chat)
    return await asyncio.to_thread(chat.run, "run", "offline_delivery")


@pytest.fixture
def chat(deploy: DeploymentFactory) -> Deployment:
    chat = deploy(
        sweep_s=0.3,
        sweep_after_s=0.3,
        offline_delay_s=0,
        offline_interval_s=0,
        device_channels="log",
        # Otherwise beat runs the function too, once a minute.
        beat_functions=False,
    )
    return chat.start()


async def test_a_user_who_is_away_is_notified_once_and_again_only_for_newer_messages(
    chat: Deployment, client: ClientFactory, name: Name
) -> None:
    functions = chat.start_functions()
    edge = chat.edges[0]
    alice, bob = client(name("alice")), client(name("bob"))
    await bob.connect(edge)
    await alice.connect(edge)
    assert (await bob.call("register_device", {"channel": "log", "address": "phone"}))["success"]
    await bob.close()

    await alice.send(bob.username, "the first")
    assert "notified: 1," in await offline_delivery(chat)
    await until(lambda: len(logged(functions, "notification")) == 1, "bob is notified")
    assert "notified: 0," in await offline_delivery(chat)

    await alice.send(bob.username, "the second")
    await alice.send(bob.username, "the third")
    assert "notified: 1," in await offline_delivery(chat)
    await until(lambda: len(logged(functions, "notification")) == 2, "bob is notified again")
    first, second = logged(functions, "notification")
    assert (first["user"], first["count"], first["senders"]) == (bob.user_id, 1, [alice.username])
    assert (second["user"], second["count"]) == (bob.user_id, 2)
    assert "the first" not in functions.log

    await alice.send(bob.username, "the fourth")
    await swept(chat)
    back = client(bob.username)
    await back.connect(edge)
    await back.expect("new_message", count=4)
    await until(
        lambda: (
            not chat.rows("SELECT FROM chat_members WHERE user_id = :u AND delivered_seq < 4", u=bob.user_id)
        ),
        "everything is confirmed",
    )
    await back.close()
    assert "notified: 0," in await offline_delivery(chat)
    assert len(logged(functions, "notification")) == 2
