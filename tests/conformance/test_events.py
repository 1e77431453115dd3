"""Events and acks on a signed-in connection."""

import asyncio
import json
from typing import Any

import pytest

from tests.conformance.conftest import Arrive
from tests.conformance.connections import Connection, Polling, Websocket
from tests.conformance.servers import Server
from tests.conftest import Name
from tests.harness.raw import padded

Transport = type[Polling] | type[Websocket]


def event(name: str, *payloads: Any) -> str:
    return json.dumps([name, *payloads])


def texts(connection: Connection) -> list[str]:
    return [message["text"] for message in connection.events("new_message")]


async def test_an_ack_carries_the_id_of_its_event(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    for ack_id in ("0", "1", "2147483648", "18446744073709551616", "9" * 100):
        await alice.send(f"42{ack_id}{event('list_chats', {})}")
        assert (await alice.answer(int(ack_id)))["success"]
        assert alice.packets[-1].startswith(f"43{ack_id}[")


async def test_leading_zeros_of_an_ack_id_are_not_repeated(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    await alice.send(f"42007{event('list_chats', {})}")
    await alice.expect("437[")


async def test_an_id_that_is_used_twice_is_answered_twice(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    await alice.send(f"427{event('list_chats', {})}", f"427{event('list_chats', {})}")
    await alice.until(lambda: alice.acks.count(7) == 2)


async def test_an_event_without_an_id_gets_no_ack(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    before = len(alice.acks)
    await alice.send(f"42{event('list_chats', {})}", f"421{event('list_chats', {})}")
    await alice.answer(1)
    assert alice.acks[before:] == [1]


async def test_acks_come_in_the_order_of_their_events(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    before = len(alice.acks)
    for first in range(0, 60, 10):
        await alice.send(*(f"42{number}{event('list_chats', {})}" for number in range(first, first + 10)))
    await alice.answer(59)
    assert alice.acks[before:] == [*range(60)]


async def test_messages_of_one_sender_arrive_in_their_order(arrive: Arrive, name: Name) -> None:
    alice, bob = await arrive(name("alice")), await arrive(name("bob"))
    for number in range(30):
        await alice.post("send_message", {"username": name("bob"), "text": str(number)})
    await bob.expect_event("new_message", 30)
    await alice.expect_event("message_sent", 30)
    assert texts(bob) == [str(number) for number in range(30)]
    assert alice.events("message_sent") == bob.events("new_message")


TEXTS = (
    "ä€\U0001f600",
    "line\u2028separator\u2029",
    'quo"te\\',
    "tab\tline\n",
    "a\x7f\x80",
    "1e\x1e2e",
    "[{,:}]",
    "\ufeff\uffff",
)


@pytest.mark.parametrize("as_ascii", [True, False], ids=["escaped", "plain"])
async def test_a_text_arrives_as_it_was_sent(arrive: Arrive, name: Name, as_ascii: bool) -> None:
    alice, bob = await arrive(name("alice")), await arrive(name("bob"))
    for number, text in enumerate(TEXTS, 1):
        payload = {"username": name("bob"), "text": text}
        await alice.send(f"42{number}{json.dumps(['send_message', payload], ensure_ascii=as_ascii)}")
        assert (await alice.answer(number))["message"]["text"] == text
        assert (await bob.expect_event("new_message", number))["text"] == text


async def test_half_a_surrogate_pair(server: Server, arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    ack = await alice.ask("send_message", {"username": name("alice"), "text": "a\ud800b"})
    # The edge refuses it: it is not valid Unicode, and no database would store it.
    assert ack["success"] == server.expected(edge=False, stock=True)
    await alice.assert_alive()


async def test_a_large_event_is_answered(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    await alice.send(f"421{padded(name('alice'), 65_536)}")
    assert (await alice.answer(1))["success"]


async def test_an_event_that_is_too_large_for_the_edge_but_not_for_its_transport(
    server: Server, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"))
    await alice.send(f"421{padded(name('alice'), 999_990)}")
    # The edge limits events far below what the transport allows.
    assert (await alice.answer(1))["success"] == server.expected(edge=False, stock=True)
    await alice.assert_alive()


async def test_a_frame_over_the_limit_closes_the_websocket(server: Server, name: Name) -> None:
    async with Websocket(server) as alice:
        await alice.sign_in(name("alice"))
        await alice.send("x" * (alice.handshake["maxPayload"] + 1))
        assert await alice.closed() == 1009


async def test_a_post_over_the_limit(server: Server, name: Name) -> None:
    async with Polling(server) as alice:
        await alice.sign_in(name("alice"))
        too_large = b"4" * (alice.handshake["maxPayload"] + 1)
        # The edge reports the error and goes on. Stock drops the connection and says so at the next poll.
        if server.kind == "edge":
            assert (await alice.post_body(too_large)).status_code == 413
            await alice.assert_alive()
        else:
            posting = asyncio.create_task(alice.post_body(too_large))
            assert await alice.closed() == 400
            posting.cancel()  # Stock does not always answer it.
            await asyncio.wait([posting])


async def test_a_reserved_name_is_an_event_like_any_other(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    names = (
        "connect_error",
        "disconnecting",
        "newListener",
        "removeListener",
        "message",
        "ping",
        "error",
        "*",
        "",
    )
    for reserved in names:
        assert (await alice.ask(reserved, {}))["code"] == "unknown_event"
    await alice.assert_alive()


@pytest.mark.parametrize("lifecycle", ["connect", "disconnect"])
@pytest.mark.parametrize("payloads", [[{"token": "x"}], ["forged", {"token": "x"}]], ids=["one", "two"])
async def test_an_event_named_like_a_lifecycle_handler(
    server: Server, arrive: Arrive, name: Name, lifecycle: str, payloads: list[Any]
) -> None:
    alice = await arrive(name("alice"))
    note = {"username": name("alice"), "text": "hi"}
    if server.kind == "edge":
        assert (await alice.ask(lifecycle, *payloads))["code"] == "unknown_event"
        await alice.ask("send_message", note)
        await alice.expect_event("new_message")
    else:
        # Stock runs the handler: a client can unregister itself and stay connected.
        await alice.send(f"42{json.dumps([lifecycle, *payloads])}")
        await alice.ask("send_message", note)
        assert len(texts(alice)) == (0 if lifecycle == "disconnect" else 1)
    await alice.assert_alive()


async def test_an_event_whose_name_is_a_number(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    for ack_id, no_name in enumerate(["5", "-1", "1.5"]):
        await alice.send(f"42{ack_id}[{no_name},{{}}]")
        # Stock finds no handler of that name and runs the catch-all handler.
        assert (await alice.answer(ack_id))["code"] == "unknown_event"
    await alice.assert_alive()


async def test_an_event_with_several_payloads(server: Server, arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    await alice.send('421["list_chats",{},{}]')
    await alice.assert_alive()
    # All events of the edge have one payload. In stock the handler's signature decides, silently.
    assert (1 in alice.acks) is server.expected(edge=True, stock=False)


async def test_an_ack_that_was_not_asked_for_is_ignored(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    before = len(alice.packets)
    await alice.send("43[]", "430[]", '4399999["x"]', f"43{'9' * 90}[]", '431["\\ud800"]')
    await alice.assert_alive()
    # Each connect is followed by how much is unread.
    answers = [p for p in alice.packets[before:] if '"unread_changed"' not in p]
    assert [p[:2] for p in answers] == ["43"]


async def test_the_server_asks_for_acks_and_takes_each_once(arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"))
    await alice.ask("send_message", {"username": name("alice"), "text": "hi"})
    await alice.expect_event("new_message")
    asked = [m.ack_id for m in alice.messages if m.kind == "2" and m.ack_id is not None]
    assert len(set(asked)) == len(asked) >= 1
    for ack_id in asked * 2:
        await alice.send(f'43{ack_id}[{{"received":true}}]')
    await alice.assert_alive()


async def test_everything_goes_to_the_right_one_of_many(server: Server, name: Name) -> None:
    async with Websocket(server) as one, Websocket(server) as two, Polling(server) as three:
        people = {name(str(number)): connection for number, connection in enumerate((one, two, three))}
        for username, connection in people.items():
            await connection.sign_in(username)
            await connection.assert_alive()
        for username in people:
            for other, connection in people.items():
                await connection.ask("send_message", {"username": username, "text": f"{other} to {username}"})
        for username, connection in people.items():
            await connection.expect_event("new_message", 3)
            assert texts(connection) == [f"{other} to {username}" for other in people]
