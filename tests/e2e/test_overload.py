"""Under overload, and with clients that do not read, the edge refuses work, stays small and keeps serving."""

import asyncio
from collections import Counter
from typing import Any

from redis.asyncio import Redis

from infra.wire import names
from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.deployment import show_to_everyone
from tests.harness.raw import RawClient, open_websocket
from tests.harness.waiting import PATIENCE_S, until

FEW = 10


async def test_a_full_lane_answers_busy_and_the_rest_is_answered_by_the_deadline(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(lanes=1, lane_queue=10, deadline_s=5, redispatch_s=0.5)
    chat.start(workers=0, beat=False)
    alice = client(name("alice"))
    await alice.connect(chat.edges[0], wait_for_workers=False)
    payload = {"username": "bob", "text": "hello", "clientId": "mine"}
    acks = await asyncio.gather(*(alice.call("send_message", payload) for _ in range(50)))
    codes = Counter(ack["code"] for ack in acks)
    # At most ten wait, and the batch in flight holds at most ten more.
    assert codes["busy"] >= 30
    assert codes["busy"] + codes["timeout"] == 50
    assert all(ack["retryable"] and ack["clientId"] == "mine" for ack in acks)


async def test_a_client_that_does_not_read_is_disconnected(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(send_queue=50).start()
    alice = await client(name("alice")).connect(chat.edges[0])
    async with RawClient(chat.edges[0], name("bob")) as bob:
        await bob.ask('["list_chats",{}]')
        show_to_everyone(chat, name("bob"))
        await alice.call("join_chat", {"username": name("bob")})
        bob.stop_reading()
        offline = asyncio.create_task(
            alice.expect("user_status", lambda status: status["status"] == "offline")
        )
        while not offline.done():
            acks = await asyncio.gather(*(alice.send(name("bob"), "x" * 4000) for _ in range(20)))
            assert all(ack["success"] for ack in acks)
        await offline


async def test_a_client_that_reads_no_big_answers_is_disconnected_though_few_wait(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(send_bytes=200_000).start()
    alice = await client(name("alice")).connect(chat.edges[0])
    async with RawClient(chat.edges[0], name("bob")) as bob:
        await bob.ask('["list_chats",{}]')
        show_to_everyone(chat, name("bob"))
        joined = await alice.call("join_chat", {"username": name("bob")})
        for _ in range(10):
            assert (await alice.send(name("bob"), "\N{GRINNING FACE}" * 4000))["success"]
        page = f'["get_messages",{{"chatId":"{joined["chatId"]}","limit":10}}]'
        assert len((await bob.ask(page))["messages"]) == 10
        bob.stop_reading()
        for _ in range(200):
            await bob.post(page)
        await alice.expect("user_status", lambda status: status["status"] == "offline")


async def test_a_websocket_that_never_sends_connect_is_closed(deploy: DeploymentFactory) -> None:
    chat = deploy(connect_s=2).start(workers=0, beat=False)
    async with open_websocket(chat.edges[0]) as silent, asyncio.timeout(PATIENCE_S):
        # The edge would ping after 25 s.
        async for frame in silent:
            assert str(frame).startswith("0"), "nothing but the greeting of Engine.IO"


async def test_a_stream_is_trimmed_to_what_its_edge_has_not_read(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(lease_refresh_s=0.5).start(beat=False)
    alice = await client(name("alice")).connect(chat.edges[0])
    bob = await client(name("bob")).connect(chat.edges[0])
    for number in range(200):
        assert (await alice.send(bob.username, str(number)))["success"]
    async with Redis.from_url(chat.store.redis_url) as redis:
        leases: Any = await redis.zrange(names.LEASES_KEY, 0, -1)
        key = names.inbox_key(leases[0].decode())
        assert (await redis.xinfo_stream(key))["entries-added"] > 200

        async def is_trimmed() -> bool:
            return await redis.xlen(key) <= FEW

        await until(is_trimmed, "the stream is trimmed")
