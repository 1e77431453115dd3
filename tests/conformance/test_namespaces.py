"""There is one namespace. Others are refused, and packets sent to them do no harm."""

import json

import pytest

from tests.conformance.conftest import Arrive
from tests.conformance.connections import Polling, Websocket, read_message
from tests.conformance.servers import Server
from tests.conftest import Name

Transport = type[Polling] | type[Websocket]


async def test_another_namespace_is_refused_and_the_connection_goes_on(
    server: Server, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"))
    for namespace in ("/other", "/admin", "/socket.io", "/a/b", "/\u00e4"):
        await alice.send(f"40{namespace},{json.dumps(server.auth(name('alice')))}")
        refusal = read_message(await alice.expect(f"44{namespace}"))
        assert refusal[:3] == ("4", namespace, None)
        # Clients other than python-socketio look for an object, and see nothing of a string.
        if server.kind == "edge":
            assert refusal.data["message"].startswith("Invalid namespace")
            assert refusal.data["data"] == {
                "code": "invalid_payload",
                "message": refusal.data["message"],
                "retryable": False,
            }
        else:
            assert refusal.data == "Unable to connect"
    await alice.assert_alive()
    assert len(alice.starting("40")) == 1


async def test_a_query_is_not_part_of_the_namespace(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    await alice.send("40/other?a=1,{}")
    await alice.expect("44/other,")
    await alice.send("40/other?a=1")
    await alice.expect("44/other,", count=2)


async def test_the_default_namespace_may_be_named(server: Server, transport: Transport, name: Name) -> None:
    async with transport(server) as alice:
        await alice.send(f"40/,{json.dumps(server.auth(name('alice')))}")
        await alice.expect('40{"sid":')
        await alice.expect_event("test_message")
        await alice.send('42/,1["list_chats",{}]')
        assert (await alice.answer(1))["success"]


async def test_another_namespace_first_and_then_the_right_one(
    server: Server, transport: Transport, name: Name
) -> None:
    async with transport(server) as alice:
        await alice.send("40/other,")
        await alice.expect("44/other,")
        await alice.sign_in(name("alice"))
        await alice.assert_alive()


STRAY = {
    "event": '42/other,1["list_chats",{}]',
    "event without data": "42/other,1[]",
    "ack": '43/other,1["x"]',
    "disconnect": "41/other,",
    "disconnect without comma": "41/other",
    "binary event": '451-/other,1["list_chats",{"_placeholder":true,"num":0}]',
}


@pytest.mark.parametrize("packet", STRAY.values(), ids=STRAY)
async def test_a_packet_to_a_namespace_that_is_not_connected_closes_the_connection(
    server: Server, arrive: Arrive, name: Name, packet: str
) -> None:
    alice = await arrive(name("alice"))
    if server.kind == "edge":
        await alice.send_to_the_end(packet)
    else:
        # Stock ignores it.
        await alice.send(packet)
        await alice.assert_alive()
    assert 1 not in alice.acks


async def test_a_refused_namespace_stays_closed(edge: Server, transport: Transport, name: Name) -> None:
    async with transport(edge) as alice:
        await alice.sign_in(name("alice"))
        await alice.send("40/other,{}")
        await alice.expect("44/other,")
        await alice.send_to_the_end('42/other,1["list_chats",{}]')
        assert 1 not in alice.acks
