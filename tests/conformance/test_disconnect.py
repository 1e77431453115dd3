"""The ways a connection ends, and who is told."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.conformance.connections import Connection, Polling, Websocket
from tests.conformance.servers import Server
from tests.conftest import Name
from tests.harness.deployment import user_id_of

Transport = type[Polling] | type[Websocket]


@pytest.fixture
async def alice(
    server: Server, transport: Transport, name: Name, bob: Websocket
) -> AsyncIterator[Connection]:
    """A user whose presence bob follows."""
    async with transport(server) as alice:
        yield await known_to(bob, alice, name("alice"))


async def known_to(bob: Websocket, connection: Connection, username: str) -> Connection:
    """Sign in, and let bob follow the user's presence."""
    await connection.sign_in(username)
    await connection.send('42["update_settings",{"showPresence":"everyone"}]')
    await connection.assert_alive()
    assert (await bob.ask("join_chat", {"username": username}))["success"]
    return connection


def farewells(bob: Websocket, username: str) -> int:
    user_id = user_id_of(username)
    return sum(
        (status["userId"], status["status"]) == (user_id, "offline") for status in bob.events("user_status")
    )


async def assert_told(bob: Websocket, username: str) -> None:
    """Wait until bob is told that they are gone."""
    before = farewells(bob, username)
    await bob.until(lambda: farewells(bob, username) > before)


async def test_a_user_who_disconnects_is_gone(alice: Connection, bob: Websocket, name: Name) -> None:
    await alice.send("41")
    await assert_told(bob, name("alice"))


@pytest.mark.parametrize("packet", ['421["list_chats",{}]', "41", '431["x"]'])
async def test_a_disconnected_client_that_goes_on_is_closed(
    server: Server, alice: Connection, bob: Websocket, name: Name, packet: str
) -> None:
    before = farewells(bob, name("alice"))
    if server.kind == "edge":
        await alice.send_to_the_end("41", packet)
    else:
        # Stock ignores it.
        await alice.send("41", packet)
    await bob.until(lambda: farewells(bob, name("alice")) > before)
    assert 1 not in alice.acks


async def test_a_disconnected_user_may_sign_in_again_on_the_same_connection(
    alice: Connection, bob: Websocket, name: Name
) -> None:
    await alice.send("41")
    await assert_told(bob, name("alice"))
    await alice.sign_in(name("alice"))
    await alice.assert_alive()
    one, other = (m.data["sid"] for m in alice.messages if m.kind == "0")
    assert one != other
    assert (await bob.ask("send_message", {"username": name("alice"), "text": "back?"}))["success"]
    assert (await alice.expect_event("new_message"))["text"] == "back?"
    await alice.send("41")
    await assert_told(bob, name("alice"))


async def test_another_user_may_sign_in_on_the_same_connection(
    alice: Connection, bob: Websocket, name: Name
) -> None:
    await alice.send("41")
    await assert_told(bob, name("alice"))
    await alice.sign_in(name("carol"))
    first, second = alice.events("connection_success")
    assert first["userId"] != second["userId"]


async def test_the_server_disconnects_and_the_connection_stays(
    server: Server, transport: Transport, name: Name
) -> None:
    async with transport(server) as alice:
        # On a busy machine, the token may end before the server has seen it; then another one is tried.
        for ttl_s in (2, 8, 32):
            await alice.send(f"40{json.dumps(server.auth(name('alice'), ttl_s=ttl_s))}")
            if (await alice.expect("4", len(alice.starting("4")) + 1)).startswith("40"):
                break
        await alice.expect("41")
        # The client may have sent these before it knew.
        await alice.send('421["list_chats",{}]', '431["x"]', "41")
        await alice.sign_in(name("alice"))
        await alice.assert_alive()
        assert alice.starting("41") == ["41"]
        assert 1 not in alice.acks


@pytest.mark.parametrize("code", [1000, 1001, 3000])
async def test_a_websocket_that_is_closed_is_gone(
    server: Server, bob: Websocket, name: Name, code: int
) -> None:
    async with Websocket(server) as alice:
        await known_to(bob, alice, name("alice"))
        await alice.ws.close(code)
        assert alice.ws.close_code == code
    await assert_told(bob, name("alice"))


async def test_a_websocket_that_breaks_is_gone(server: Server, bob: Websocket, name: Name) -> None:
    async with Websocket(server) as alice:
        await known_to(bob, alice, name("alice"))
        alice.ws.transport.abort()
        await assert_told(bob, name("alice"))


async def test_a_websocket_that_breaks_amid_answers_is_gone(
    server: Server, bob: Websocket, name: Name
) -> None:
    async with Websocket(server) as alice:
        await known_to(bob, alice, name("alice"))
        for _ in range(100):
            await alice.post("list_chats", {})
        alice.ws.transport.abort()
        await assert_told(bob, name("alice"))


async def test_a_user_who_closes_the_connection_is_gone(
    alice: Connection, bob: Websocket, name: Name
) -> None:
    await alice.send("1")
    await assert_told(bob, name("alice"))


async def test_after_a_close_packet_polls_are_refused(server: Server, name: Name, bob: Websocket) -> None:
    async with Polling(server) as alice:
        await alice.sign_in(name("alice"))
        await alice.send("1")
        # The first request afterwards may still return queued packets.
        assert await alice.closed() == 400
        assert (await alice.post_body(b"3")).status_code == 400


async def test_several_disconnects_count_as_one(alice: Connection, bob: Websocket, name: Name) -> None:
    await alice.send("41", "1")
    await assert_told(bob, name("alice"))


async def test_an_open_poll_ends_when_the_connection_does(server: Server, name: Name) -> None:
    async with Polling(server) as alice:
        await alice.sign_in(name("alice"))
        open_poll = asyncio.create_task(alice.poll())
        await alice.send("1")
        if server.kind == "edge":
            assert (await open_poll).status_code in {200, 400}
        else:
            # Stock leaves it open until the ping times out, which takes longer than a test waits.
            open_poll.cancel()
            await asyncio.wait([open_poll])


async def test_a_user_with_two_connections_is_served_on_the_one_that_is_left(
    server: Server, transport: Transport, name: Name
) -> None:
    async with transport(server) as one, transport(server) as other:
        await one.sign_in(name("alice"))
        await other.sign_in(name("alice"))
        await one.send("41")
        await other.assert_alive()
        await other.ask("send_message", {"username": name("alice"), "text": "still here"})
        assert (await other.expect_event("new_message"))["text"] == "still here"
