"""Too much work, and clients that do not read: the edge says so, stays small and goes on."""

import asyncio
from collections import Counter
from collections.abc import Callable

from tests.conftest import ClientFactory, DeploymentFactory
from tests.harness.raw import RawClient


async def test_a_full_lane_answers_busy_and_the_rest_is_answered_by_the_deadline(
    deploy: DeploymentFactory, client: ClientFactory, name: Callable[[str], str]
) -> None:
    chat = deploy(lanes=1, lane_queue=10, deadline_s=2, redispatch_s=0.5)
    chat.start(workers=0, beat=False)
    alice = client(name("alice"))
    await alice.connect(chat.edges[0], wait_for_workers=False)
    payload = {"username": "bob", "text": "hello", "clientId": "mine"}
    acks = await asyncio.gather(*(alice.call("send_message", payload) for _ in range(50)))
    codes = Counter(ack["code"] for ack in acks)
    assert codes["busy"] >= 38
    assert codes["busy"] + codes["timeout"] == 50
    assert all(ack["retryable"] and ack["clientId"] == "mine" for ack in acks)


async def test_a_client_that_does_not_read_is_disconnected(
    deploy: DeploymentFactory, client: ClientFactory, name: Callable[[str], str]
) -> None:
    chat = deploy(send_queue=50).start()
    alice = await client(name("alice")).connect(chat.edges[0])
    async with RawClient(chat.edges[0], name("bob")) as bob:
        await bob.ask('["list_chats",{}]')
        await alice.call("join_chat", {"username": name("bob")})
        bob.stop_reading()
        offline = asyncio.create_task(
            alice.expect("user_status", lambda status: status["status"] == "offline", timeout_s=60)
        )
        while not offline.done():
            ack = await alice.send(name("bob"), "x" * 4000)
            assert ack["success"]
        await offline
