"""The scenario of the seed document with python-socketio's client, where a returned value is an ack."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from socketio.exceptions import ConnectionError as Refused

from tests.conftest import ClientFactory, Name
from tests.e2e.conftest import Arrive
from tests.harness.client import Client
from tests.harness.deployment import ANSWERED_S, Edge, make_token
from tests.harness.proxy import Proxy

TRANSPORTS = {"websocket": ["websocket"], "default": ["polling", "websocket"], "polling": ["polling"]}
pytestmark = pytest.mark.parametrize("transports", TRANSPORTS.values(), ids=TRANSPORTS.keys())


@pytest.fixture
async def proxy(edge: Edge) -> AsyncIterator[Proxy]:
    proxy = await Proxy(urlsplit(edge.url).port or 0).start()
    yield proxy
    await proxy.cut()


async def test_connection_success_carries_the_user_id_and_test_message_follows(
    edge: Edge, client: ClientFactory, name: Name, transports: list[str]
) -> None:
    alice = await client(name("alice")).connect(edge, transports=transports)
    assert [event for event, _ in alice.received[:2]] == ["connection_success", "test_message"]
    assert alice.of("connection_success")[0]["userId"] == alice.user_id


async def test_a_ping_comes_again_after_it_was_acked(
    edge: Edge, arrive: Arrive, name: Name, transports: list[str]
) -> None:
    alice = await arrive(name("alice"), edge, transports=transports)
    await alice.expect("ping", count=2)
    assert (await alice.call("list_chats", {}))["success"]


async def test_a_sent_message_is_acked_confirmed_and_delivered(
    edge: Edge, arrive: Arrive, name: Name, transports: list[str]
) -> None:
    alice = await arrive(name("alice"), edge, transports=transports)
    bob = await arrive(name("bob"), edge, transports=transports)
    ack = await alice.send(bob.username, "Hello, how are you?")
    assert ack["success"]
    assert await alice.expect("message_sent") == await bob.expect("new_message") == ack["message"]
    status = await alice.expect("message_status")
    assert (status["status"], status["userId"], status["upTo"]) == ("delivered", bob.user_id, 1)


async def test_a_message_is_not_delivered_before_it_is_acked(
    edge: Edge, arrive: Arrive, name: Name, transports: list[str]
) -> None:
    alice = await arrive(name("alice"), edge, transports=transports)
    bob = await arrive(name("bob"), edge, transports=transports, acks=False)
    await alice.send(bob.username, "Hello")
    await bob.expect("new_message")
    joined = await alice.call("join_chat", {"username": bob.username})
    assert [message["status"] for message in joined["messages"]] == ["sent"]
    bob.start_acking()
    await alice.expect("message_status", lambda status: status["status"] == "delivered")


async def test_both_sides_join_the_same_chat(
    edge: Edge, arrive: Arrive, name: Name, transports: list[str]
) -> None:
    alice = await arrive(name("alice"), edge, transports=transports)
    bob = await arrive(name("bob"), edge, transports=transports)
    one = await alice.call("join_chat", {"username": bob.username})
    other = await bob.call("join_chat", {"username": alice.username})
    assert one["success"]
    assert one["chatId"] == other["chatId"]


async def test_mark_as_read_is_acked_and_told_to_the_sender(
    edge: Edge, arrive: Arrive, name: Name, transports: list[str]
) -> None:
    alice = await arrive(name("alice"), edge, transports=transports)
    bob = await arrive(name("bob"), edge, transports=transports)
    await alice.send(bob.username, "Hello")
    message = await bob.expect("new_message")
    ack = await bob.call("mark_as_read", {"chatId": message["chatId"]})
    assert ack == {"success": True, "readUpTo": 1, "unread": 0}
    status = await alice.expect("message_status", lambda status: status["status"] == "read")
    assert (status["chatId"], status["userId"], status["upTo"]) == (message["chatId"], bob.user_id, 1)


async def test_a_failure_is_acked_and_raised_as_an_error_event(
    edge: Edge, arrive: Arrive, name: Name, transports: list[str]
) -> None:
    alice = await arrive(name("alice"), edge, transports=transports)
    ack = await alice.send(name("nobody"), "Hello", clientId="one")
    error = await alice.expect("error")
    assert (ack["success"], ack["code"], ack["retryable"]) == (False, "user_not_found", False)
    assert (error["message"], error["event"], error["clientId"]) == (ack["error"], "send_message", "one")


@pytest.mark.parametrize("auth", [None, {}, {"token": None}, {"token": ""}, {"token": "your-jwt"}, "token"])
async def test_a_missing_or_invalid_token_is_a_rejected_connection(
    edge: Edge, client: ClientFactory, name: Name, transports: list[str], auth: object
) -> None:
    stranger = client(name("stranger"))
    with pytest.raises(Refused):
        await stranger.sio.connect(edge.url, auth=auth, transports=transports, retry=False)
    refusal = await stranger.expect("connect_error")
    assert refusal["data"]["code"] == "unauthorized"
    assert refusal["message"] == refusal["data"]["message"]


async def test_an_expired_token_is_a_rejected_connection_that_says_so(
    edge: Edge, client: ClientFactory, name: Name, transports: list[str]
) -> None:
    alice = client(name("alice"))
    token = make_token(alice.username, ttl_s=-60)
    with pytest.raises(Refused):
        await alice.sio.connect(
            edge.url, auth={"token": token}, transports=transports, wait_timeout=ANSWERED_S
        )
    assert (await alice.expect("connect_error"))["data"]["code"] == "token_expired"


async def test_a_cut_connection_resumes_with_nothing_missed(
    edge: Edge, proxy: Proxy, arrive: Arrive, name: Name, transports: list[str]
) -> None:
    alice = await arrive(name("alice"), edge)
    bob = await arrive(name("bob"), proxy, transports=transports, reconnection=True)
    await send_numbered(alice, bob, range(1, 4))
    await alice.expect("message_status", lambda status: status["upTo"] == 3)
    await proxy.cut()
    await bob.expect("disconnect")
    await send_numbered(alice, bob, range(4, 61))
    await proxy.start()
    await send_numbered(alice, bob, range(61, 81))
    await bob.expect("new_message", lambda message: message["seq"] == 80)
    assert [message["text"] for message in bob.of("new_message")] == [str(n) for n in range(1, 81)]
    assert len(bob.of("connection_success")) == 2


async def send_numbered(sender: Client, recipient: Client, numbers: range) -> None:
    acks = await asyncio.gather(*(sender.send(recipient.username, str(number)) for number in numbers))
    assert all(ack["success"] for ack in acks)
