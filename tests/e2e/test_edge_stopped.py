"""A stopping edge answers the requests it has taken and then disconnects its clients."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.protocol import State

from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.key_server import KeyServer, Project
from tests.harness.waiting import PATIENCE_S, until

MESSAGES = 200


async def test_accepted_requests_are_answered_before_the_edge_stops(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy().start()
    edge, (worker,) = chat.edges[0], chat.workers
    alice, bob = await client(name("alice")).connect(edge), await client(name("bob")).connect(edge)
    acks: list[asyncio.Future[Any]] = []
    with worker.paused():
        for number in range(MESSAGES):
            acks.append(asyncio.get_running_loop().create_future())
            payload = {"username": bob.username, "text": str(number)}
            await alice.sio.emit("send_message", payload, callback=acks[-1].set_result)
        # The edge answers this itself, after reading everything that alice has sent.
        assert (await alice.call("refresh_token", {}))["code"] == "invalid_payload"
        stopping = asyncio.create_task(asyncio.to_thread(edge.stop))
        await bob.expect("disconnect")
        assert not alice.of("disconnect")
    async with asyncio.timeout(PATIENCE_S):
        assert all(ack["success"] for ack in await asyncio.gather(*acks))
    await alice.expect("disconnect")
    await stopping


async def test_clients_leave_one_after_the_other_and_no_new_ones_come(deploy: DeploymentFactory) -> None:
    chat = deploy(drain_s=12).start(workers=0, beat=False)
    (edge,) = chat.edges
    address = f"{edge.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(connect(address, proxy=None)) for _ in range(400)]
        stopping = asyncio.create_task(asyncio.to_thread(edge.stop))
        await sockets[0].wait_closed()
        # They leave in the order in which they came, so the others are still there.
        assert {one.state for one in sockets[-50:]} == {State.OPEN}
        async with httpx.AsyncClient(verify=False) as http:
            ready = await http.get(f"{edge.url}/readyz")
            new = await http.get(f"{edge.url}/socket.io/?EIO=4&transport=polling")
        assert (ready.status_code, ready.json()["reason"]) == (503, "the edge is shutting down")
        assert (new.status_code, new.headers["Retry-After"]) == (503, "1")
        with pytest.raises(InvalidStatus):
            await connect(address, proxy=None)
        assert {one.state for one in sockets[-50:]} == {State.OPEN}
        for one in sockets:
            await one.wait_closed()
        assert {one.close_code for one in sockets} == {1012}
        await stopping


async def test_a_polling_client_is_let_go_and_its_peers_hear_that_it_is_offline(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy().start(edges=2)
    stopping, staying = chat.edges
    alice = await client(name("alice")).connect(staying)
    bob = await client(name("bob")).connect(stopping, transports=["polling"])
    assert (await alice.follow(bob))["success"]
    await asyncio.to_thread(stopping.stop)
    await alice.expect("user_status", lambda status: status["status"] == "offline")
    assert '"reason": "server_shutdown"' in stopping.log


async def test_a_slow_token_refresh_is_answered_before_the_edge_stops(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    project = Project(KeyServer())
    server = project.server
    chat = deploy(supabase_url=server.url, jwks_cooldown_s=0.001)
    del chat.env["BBGRAM_SUPABASE_JWT_SECRET"]
    edge = chat.start().edges[0]
    try:
        alice = await client(name("alice")).connect(edge, token=project.token())
        project.add_key("new")
        server.delay_s = 2.0
        hits = server.hits
        asking = asyncio.create_task(alice.call("refresh_token", {"token": project.token("new")}))
        await until(lambda: server.hits > hits, "the edge asks for the keys")
        stopping = asyncio.create_task(asyncio.to_thread(edge.stop))
        assert (await asking)["success"]
        await alice.expect("disconnect")
        await stopping
    finally:
        server.stop()
