"""Limits on connections: how many at once and how many a second, per user and per address."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.deployment import Deployment, Edge, make_token
from tests.harness.raw import RawClient, RawPolling, open_websocket, sockets_of
from tests.harness.waiting import PATIENCE_S, until
from tests.security.limits import ONE_IN_100_S, assert_rate_limited

LIST = '["list_chats",{}]'
EDGES = {
    "two sockets a user": {"sockets_per_user": 2},
    "two sign-ins": {"rate_sign_ins": ONE_IN_100_S, "rate_sign_ins_burst": 2},
    "one connection": {"sockets_per_address": 1},
    "two for a moment": {"sockets_per_address": 2, "connect_s": 0.5},
    "three connections": {"sockets_per_address": 3},
    "one ever": {"sockets_per_address": 1, "rate_connects": ONE_IN_100_S, "rate_connects_burst": 1},
    "three at once": {"rate_connects": ONE_IN_100_S, "rate_connects_burst": 3},
    "one in two seconds": {"rate_connects": 0.5, "rate_connects_burst": 1},
}


def open_from(edge: Edge, address: str) -> connect:
    """Open a websocket as a local proxy would for a client at that address."""
    url = f"{edge.url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
    return connect(url, additional_headers={"X-Forwarded-For": address}, proxy=None, close_timeout=1)


async def poll(edge: Edge) -> httpx.Response:
    """Ask for a new connection over long polling."""
    async with httpx.AsyncClient(timeout=PATIENCE_S, verify=False) as http:
        return await http.get(f"{edge.url}/socket.io/?EIO=4&transport=polling")


async def refusal(opening: connect) -> Any:
    """Return the body of the refusal of a websocket."""
    with pytest.raises(InvalidStatus) as refused:
        await opening
    response = refused.value.response
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) >= 1
    return json.loads(response.body or b"")


async def open_when_there_is_room(edge: Edge, *, abort: bool = False) -> None:
    """Open and close a websocket as soon as the edge has noticed that another one is gone."""

    async def is_open() -> bool:
        try:
            async with open_websocket(edge) as opened:
                if abort:
                    opened.transport.abort()
        except InvalidStatus:
            return False
        return True

    await until(is_open, "there is room for a websocket")


async def test_the_oldest_socket_of_a_user_makes_room_for_the_newest(
    edges: Mapping[str, Edge], name: Name
) -> None:
    edge = edges["two sockets a user"]
    alice = name("alice")
    async with RawClient(edge, alice) as first, RawClient(edge, alice) as second:
        async with RawClient(edge, alice) as third:
            error = await first.expect("error")
            assert (error["code"], error["retryable"]) == ("rate_limited", True)
            await first.wait_for(lambda: "41" in first.frames)
            for lives in (second, third):
                assert (await lives.ask(LIST))["success"]
            await third.ask(json.dumps(["send_message", {"username": alice, "text": "to all of me"}]))
            await second.expect("new_message")
            assert first.of("new_message") == []
        assert second.of("error") == []


async def test_however_many_connect_at_once_no_more_than_that_stay(
    edges: Mapping[str, Edge], name: Name
) -> None:
    edge = edges["two sockets a user"]
    async with AsyncExitStack() as stack:
        clients = [RawClient(edge, name("alice")) for _ in range(20)]
        await asyncio.gather(*(stack.enter_async_context(client) for client in clients))
        assert await sockets_of(edge) == 2
        await until(lambda: sum("41" in client.frames for client in clients) >= 18, "18 sockets are closed")
        assert await sockets_of(edge) == 2


async def test_the_connections_of_an_address_are_limited_signed_in_or_not(
    edges: Mapping[str, Edge], name: Name
) -> None:
    edge = edges["three connections"]
    async with open_websocket(edge) as silent, RawClient(edge, name("alice")), RawPolling(edge, name("bob")):
        assert_rate_limited(await refusal(open_websocket(edge)))
        response = await poll(edge)
        assert response.status_code == 429
        assert_rate_limited(response.json())
        async with open_from(edge, "192.0.2.7"):
            assert_rate_limited(await refusal(open_websocket(edge)))
        await silent.close()
        await open_when_there_is_room(edge)


async def test_a_connection_that_comes_and_goes_leaves_nothing_behind(
    edges: Mapping[str, Edge], name: Name
) -> None:
    edge = edges["one connection"]
    for _ in range(10):
        await open_when_there_is_room(edge)
    await open_when_there_is_room(edge, abort=True)

    async def accepted() -> httpx.Response | None:
        response = await poll(edge)
        return None if response.status_code == 429 else response

    response = await until(accepted, "there is room for a polling client")
    sid = json.loads(response.text[1:])["sid"]
    async with httpx.AsyncClient(verify=False) as http:
        await http.post(f"{edge.url}/socket.io/?EIO=4&transport=polling&sid={sid}", content=b"1")
    await open_when_there_is_room(edge)


async def test_an_upgrade_does_not_count_as_a_second_connection(
    edges: Mapping[str, Edge], client: ClientFactory, name: Name
) -> None:
    edge = edges["one ever"]
    alice = await client(name("alice")).connect(edge, transports=["polling", "websocket"])
    assert alice.sio.transport() == "websocket"
    await refusal(open_websocket(edge))
    assert (await alice.call("list_chats", {}))["success"]


async def test_connections_that_never_sign_in_make_room_in_time(edges: Mapping[str, Edge]) -> None:
    edge = edges["two for a moment"]
    async with open_websocket(edge):
        assert (await poll(edge)).status_code == 200
        await open_when_there_is_room(edge)


async def test_new_connections_of_an_address_are_limited_before_a_token_is_looked_at(
    edges: Mapping[str, Edge], name: Name
) -> None:
    edge = edges["three at once"]
    async with open_websocket(edge), RawPolling(edge, name("alice")) as alice, RawClient(edge, name("bob")):
        assert_rate_limited(await refusal(open_websocket(edge)))
        response = await poll(edge)
        assert response.status_code == 429
        assert_rate_limited(response.json())
        async with open_from(edge, "192.0.2.7"), open_from(edge, "2001:db8::1"):
            await alice.post(f"421{LIST}")
            await alice.expect("431")


async def test_after_the_requested_pause_a_connection_is_accepted(edges: Mapping[str, Edge]) -> None:
    edge = edges["one in two seconds"]
    responses = await asyncio.gather(*(poll(edge) for _ in range(8)))
    refused = [response.json() for response in responses if response.status_code == 429]
    assert refused
    await asyncio.sleep(refused[-1]["retryAfterMs"] / 1000)
    assert (await poll(edge)).status_code == 200


async def test_a_client_cannot_choose_its_own_address(deploy: DeploymentFactory) -> None:
    chat = deploy(rate_connects=ONE_IN_100_S, rate_connects_burst=1)
    chat.env["FORWARDED_ALLOW_IPS"] = "192.0.2.1"
    edge = chat.start(workers=0, beat=False).edges[0]
    async with open_from(edge, "192.0.2.7"):
        assert_rate_limited(await refusal(open_from(edge, "192.0.2.8")))


async def test_health_is_answered_whatever_an_address_does(edges: Mapping[str, Edge]) -> None:
    edge = edges["one in two seconds"]
    for _ in range(5):
        await poll(edge)
    assert await sockets_of(edge) == 0


async def connect_error(raw: RawClient, auth: str) -> Any:
    """Send CONNECT; return `data` of the refusal."""
    before = len(raw.frames)
    await raw.send(f"40{auth}")
    await raw.wait_for(lambda: any(frame.startswith("44") for frame in raw.frames[before:]))
    frame = next(frame for frame in raw.frames[before:] if frame.startswith("44"))
    return json.loads(frame[2:])["data"]


async def test_sign_ins_of_a_user_are_limited_on_any_number_of_connections(
    edges: Mapping[str, Edge], name: Name
) -> None:
    edge = edges["two sign-ins"]
    alice = name("alice")
    auth = json.dumps({"token": make_token(alice)})
    async with RawClient(edge, alice), RawClient(edge, alice) as raw:
        await raw.send("41")
        assert_rate_limited(await connect_error(raw, auth))
        async with RawClient(edge, name("bob")) as bob:
            assert (await bob.ask(LIST))["success"]


async def test_a_connection_is_closed_after_ten_bad_tokens(chat: Deployment, name: Name) -> None:
    edge = chat.edges[0]
    async with RawClient(edge, name("alice")) as raw:
        await raw.send("41")
        for _ in range(9):
            assert (await connect_error(raw, '{"token":"x"}'))["code"] == "unauthorized"
        await raw.send('40{"token":"x"}')
        await raw.closed()
