"""Bad input over the wire: it gets its code, nothing is stored, and the connection lives."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from infra.store.profiles import insert_profiles
from tests.harness.deployment import Deployment, user_id_of
from tests.harness.raw import RawClient, RawPolling

Names = Callable[[str], str]


@pytest.fixture
def mallory(chat: Deployment, name: Names) -> str:
    """Name a user who has a profile and nothing else."""
    return with_profile(chat, name("mallory"))


@pytest.fixture
async def raw(chat: Deployment, mallory: str) -> AsyncIterator[RawClient]:
    """Connect mallory."""
    async with RawClient(chat.edges[0], mallory) as client:
        yield client


def with_profile(chat: Deployment, username: str) -> str:
    engine = chat.engine
    with engine.begin() as conn:
        insert_profiles(conn, {uuid.UUID(user_id_of(username)): username})
    engine.dispose()
    return username


def event(name: str, payload: Any) -> str:
    return json.dumps([name, payload])


def traces(chat: Deployment, username: str) -> list[int]:
    """Count what a user has left in the store: messages, chats and dead letters."""
    return [
        chat.rows(f"SELECT count(*) FROM {table} WHERE {column} = :u", u=user_id_of(username))[0][0]
        for table, column in (
            ("messages", "sender_id"),
            ("chat_members", "user_id"),
            ("dead_letters", "user_id"),
        )
    ]


async def assert_alive(raw: RawClient, username: str) -> None:
    ack = await raw.ask(event("send_message", {"username": username, "text": "still here"}))
    assert ack["success"], ack


async def assert_refused(
    chat: Deployment,
    raw: RawClient,
    username: str,
    data: str,
    code: str,
    name: str | None = None,
    **more: Any,
) -> None:
    """Refused in the ack and as an `error` event; nothing stored; the connection lives."""
    ack = await raw.ask(data)
    error = await raw.expect("error")
    assert ack == {
        "success": False,
        "error": error["message"],
        "code": code,
        "retryable": False,
        **more,
    }
    assert error == {
        "code": code,
        "message": ack["error"],
        "retryable": False,
        **({"event": name} if name else {}),
        **more,
    }
    assert ack["error"]
    assert traces(chat, username) == [0, 0, 0]
    await assert_alive(raw, username)


NOT_AN_OBJECT = ("5", '"text"', "[]", "[1,2]", "null", "true", "1.5", '""')
EVENTS = (
    "send_message",
    "join_chat",
    "mark_as_read",
    "get_messages",
    "list_chats",
    "sync",
    "typing",
    "refresh_token",
)


@pytest.mark.parametrize("payload", NOT_AN_OBJECT)
async def test_a_payload_that_is_no_object_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, payload: str
) -> None:
    await assert_refused(chat, raw, mallory, f'["send_message",{payload}]', "invalid_payload", "send_message")


@pytest.mark.parametrize("command", EVENTS)
@pytest.mark.parametrize("payloads", [",{},{}", ",[]", ",null"], ids=["two", "list", "null"])
async def test_every_event_wants_exactly_one_object(
    chat: Deployment, raw: RawClient, mallory: str, command: str, payloads: str
) -> None:
    await assert_refused(chat, raw, mallory, f'["{command}"{payloads}]', "invalid_payload", command)


@pytest.mark.parametrize("command", [name for name in EVENTS if name != "list_chats"])
async def test_no_payload_is_an_empty_object_which_lacks_what_the_event_needs(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    await assert_refused(chat, raw, mallory, f'["{command}"]', "invalid_payload", command)


async def test_a_list_of_chats_needs_no_payload(raw: RawClient) -> None:
    assert await raw.ask('["list_chats"]') == {"success": True, "chats": [], "nextCursor": None}


BAD_FIELDS = {
    "no username": '{"text":"hi"}',
    "no text": '{"username":"USER"}',
    "nothing": "{}",
    "username a number": '{"username":5,"text":"hi"}',
    "username null": '{"username":null,"text":"hi"}',
    "username a list": '{"username":["USER"],"text":"hi"}',
    "username empty": '{"username":"","text":"hi"}',
    "username too long": '{"username":"' + "u" * 65 + '","text":"hi"}',
    "text a number": '{"username":"USER","text":5}',
    "text null": '{"username":"USER","text":null}',
    "text an object": '{"username":"USER","text":{}}',
    "text out of range": '{"username":"USER","text":1e999}',
    "clientId a number": '{"username":"USER","text":"hi","clientId":5}',
    "clientId empty": '{"username":"USER","text":"hi","clientId":""}',
    "clientId too long": '{"username":"USER","text":"hi","clientId":"' + "c" * 65 + '"}',
    "surrogate in text": '{"username":"USER","text":"a\\ud800b"}',
    "surrogate at the end of text": '{"username":"USER","text":"\\ud800"}',
    "low surrogate first": '{"username":"USER","text":"\\udc00\\ud800"}',
    "surrogate in username": '{"username":"\\ud800","text":"hi"}',
    "surrogate in clientId": '{"username":"USER","text":"hi","clientId":"\\udfff"}',
    "bad escape": '{"username":"USER","text":"\\q"}',
    "raw control character": '{"username":"USER","text":"\x01"}',
    "not JSON": '{"username":"USER","text":}',
    "unfinished": '{"username":"USER","text":"hi"',
    "trailing words": '{"username":"USER","text":"hi"} and more',
    "single quotes": "{'username':'USER','text':'hi'}",
    "not a number": '{"username":"USER","text":NaN}',
}


@pytest.mark.parametrize("payload", BAD_FIELDS.values(), ids=BAD_FIELDS)
async def test_a_bad_field_is_refused(chat: Deployment, raw: RawClient, mallory: str, payload: str) -> None:
    data = f'["send_message",{payload.replace("USER", mallory)}]'
    await assert_refused(chat, raw, mallory, data, "invalid_payload", "send_message")


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t \u2003", "x" * 4_001, "\U0001f600" * 4_001, "a\0b", "\0"],
    ids=["empty", "blank", "odd blanks", "too long", "too many emoji", "NUL inside", "NUL only"],
)
async def test_a_bad_text_is_refused(chat: Deployment, raw: RawClient, mallory: str, text: str) -> None:
    data = json.dumps(["send_message", {"username": mallory, "text": text}], ensure_ascii=False)
    data = data.replace("\0", "\\u0000")
    await assert_refused(chat, raw, mallory, data, "invalid_payload", "send_message")


async def test_a_nul_in_the_client_id_is_refused_and_the_id_comes_back(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    data = event("send_message", {"username": mallory, "text": "hi", "clientId": "a\0b"})
    await assert_refused(chat, raw, mallory, data, "invalid_payload", "send_message", clientId="a\0b")


@pytest.mark.parametrize("username", ["nobody_has_this_name", "a\0b", "\0", "   ", "%", "' OR 1=1 --"])
@pytest.mark.parametrize("command", ["send_message", "join_chat", "typing"])
async def test_a_name_that_nobody_has_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, username: str, command: str
) -> None:
    data = event(command, {"username": username, "text": "hi", "isTyping": True})
    await assert_refused(chat, raw, mallory, data, "user_not_found", command)


async def test_the_error_names_the_client_id_of_the_request(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    data = event("send_message", {"username": "nobody_has_this_name", "text": "hi", "clientId": "mine"})
    await assert_refused(chat, raw, mallory, data, "user_not_found", "send_message", clientId="mine")


@pytest.mark.parametrize(
    "text", ["x" * 4_000, "\U0001f600" * 4_000, "ä" * 4_000], ids=["ascii", "emoji", "umlauts"]
)
async def test_the_limit_counts_characters_and_not_bytes(raw: RawClient, mallory: str, text: str) -> None:
    data = json.dumps(["send_message", {"username": mallory, "text": text}], ensure_ascii=False)
    assert (await raw.ask(data))["message"]["text"] == text


async def test_unknown_fields_are_ignored(raw: RawClient, mallory: str) -> None:
    data = event("send_message", {"username": mallory, "text": "hi", "colour": {"deep": [1, None]}})
    assert (await raw.ask(data))["success"]


async def test_a_note_to_self_comes_once_as_sent_and_once_as_new(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    ack = await raw.ask(event("send_message", {"username": mallory, "text": "remember"}))
    await raw.expect("new_message")
    await raw.expect("message_sent")
    await raw.ask(event("send_message", {"username": mallory, "text": "remember this too"}))
    await raw.expect("new_message", 2)
    await raw.expect("message_sent", 2)
    assert raw.of("new_message")[0] == raw.of("message_sent")[0] == ack["message"]
    assert [m["seq"] for m in raw.of("new_message")] == [m["seq"] for m in raw.of("message_sent")] == [1, 2]


# Sizes and nesting


def padded(username: str, size: int) -> str:
    """Return a valid send of exactly `size` bytes."""
    start = f'["send_message",{{"username":"{username}","text":"hi","padding":"'
    return f'{start}{"x" * (size - len(start) - 3)}"}}]'


async def test_a_payload_of_exactly_the_limit_works(raw: RawClient, mallory: str) -> None:
    assert (await raw.ask(padded(mallory, 65_536)))["success"]


async def test_a_payload_just_over_the_limit_is_refused(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    await assert_refused(chat, raw, mallory, padded(mallory, 65_537), "payload_too_large", "send_message")


async def test_a_payload_of_ten_megabytes_closes_the_connection_and_nothing_else(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    async with RawClient(chat.edges[0], mallory) as other:
        with contextlib.suppress(ConnectionClosed):
            await raw.send(f"421{padded(mallory, 10_000_000)}")
        assert await raw.closed() == 1009
        await assert_alive(other, mallory)


def nested(username: str, depth: int) -> str:
    return f'["send_message",{{"username":"{username}","text":"hi","x":{"[" * depth}{"]" * depth}}}]'


@pytest.mark.parametrize("depth", [31, 100, 800, 900, 950, 980, 1_000, 10_000, 30_000])
async def test_a_payload_that_is_nested_too_deep_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, depth: int
) -> None:
    await assert_refused(chat, raw, mallory, nested(mallory, depth), "invalid_payload", "send_message")


async def test_a_payload_nested_a_hundred_thousand_deep_is_too_large(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    await assert_refused(chat, raw, mallory, nested(mallory, 100_000), "payload_too_large", "send_message")


async def test_brackets_in_a_text_are_no_nesting(raw: RawClient, mallory: str) -> None:
    text = '[{"\\' * 1_000
    ack = await raw.ask(event("send_message", {"username": mallory, "text": text}))
    assert ack["message"]["text"] == text


# Names of events


@pytest.mark.parametrize(
    "command",
    [
        *(
            "dance",
            "SEND_MESSAGE",
            "send_message ",
            "",
            "*",
            "__proto__",
            "new_message",
            "error",
            "message",
            "ping",
        ),
        *("introduce", "catch_up", "announce", "confirm_delivery"),
        *("connect", "disconnect", "connect_error", "disconnecting", "newListener"),
    ],
)
@pytest.mark.parametrize("payload", ["", ",{}", ',{"token":"x"},"y",3'], ids=["bare", "object", "many"])
async def test_an_event_that_clients_may_not_send_is_unknown(
    chat: Deployment, raw: RawClient, mallory: str, command: str, payload: str
) -> None:
    await assert_refused(chat, raw, mallory, f'["{command}"{payload}]', "unknown_event")


@pytest.mark.parametrize("command", ["5", "null", "true", "{}", '["send_message"]', "1.5"])
async def test_the_name_of_an_event_must_be_a_string(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    await assert_refused(chat, raw, mallory, f"[{command},{{}}]", "invalid_payload")


# Packets


async def assert_answered_with_an_error(raw: RawClient, username: str, *frames: str | bytes) -> None:
    for number, frame in enumerate(frames, 1):
        await raw.send(frame)
        error = await raw.expect("error", number)
        assert error["code"] == "invalid_payload", error
    await assert_alive(raw, username)


MALFORMED = {
    "no packet": "4",
    "no such type": "49",
    "no type": '4["send_message",{}]',
    "no data": "42",
    "only an id": "4217",
    "not a list": '42{"send_message":1}',
    "null": "42null",
    "empty list": "42[]",
    "unfinished": "42[",
    "an id without end": "42" + "9" * 200 + '["send_message",{}]',
    "an id of odd digits": '42²["send_message",{}]',
    "the server's own kind": "44{}",
    "eleven digits of attachments": '4512345678901-["send_message",{}]',
    "ten digits of attachments": '459999999999-["send_message",{}]',
    "negative attachments": '45-1-["send_message",{}]',
    "no attachments": '450-["send_message",{}]',
    "binary out of nowhere": b"\x00\x01",
    "empty binary": b"",
}


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_packet_is_answered_with_an_error(
    chat: Deployment, raw: RawClient, mallory: str, frame: str | bytes
) -> None:
    await assert_answered_with_an_error(raw, mallory, frame)


async def test_a_binary_event_is_refused_and_so_is_each_attachment(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    await raw.send('452-7["send_message",{"text":{"_placeholder":true,"num":0}}]')
    assert (await raw.ack_of(7))["code"] == "invalid_payload"
    await raw.send(b"one")
    await raw.send(b"two")
    assert (await raw.expect("error", 3))["code"] == "invalid_payload"
    assert traces(chat, mallory) == [0, 0, 0]
    await assert_alive(raw, mallory)


@pytest.mark.parametrize(
    "frame",
    [
        "43",
        "43[]",
        '4399999["x"]',
        "430[]",
        '4399999{"a":1}',
        "431",
        '461-99999["x"]',
        "43" + "9" * 90 + "[]",
    ],
)
async def test_an_ack_that_nobody_asked_for_changes_nothing(raw: RawClient, mallory: str, frame: str) -> None:
    await raw.send(frame)
    await assert_alive(raw, mallory)
    assert raw.of("error") == []


async def test_the_same_ack_twice_changes_nothing(raw: RawClient, mallory: str) -> None:
    await raw.ask(event("send_message", {"username": mallory, "text": "hi"}))
    await raw.expect("new_message")
    frame = next(frame for frame in raw.frames if '["new_message"' in frame)
    ack_id = frame[2:].partition("[")[0]
    for _ in range(3):
        await raw.send(f'43{ack_id}[{{"received":true}}]')
    await assert_alive(raw, mallory)


@pytest.mark.parametrize("namespace", ["/admin", "/socket.io", "/chat?x=1"])
async def test_other_namespaces_are_refused(raw: RawClient, mallory: str, namespace: str) -> None:
    await raw.send(f'40{namespace},{{"token":"x"}}')
    await raw.wait_for(
        lambda: any(frame.startswith(f"44{namespace.partition('?')[0]},") for frame in raw.frames)
    )
    await raw.send(f'42{namespace},1["send_message",{{"username":"{mallory}","text":"hi"}}]')
    await assert_alive(raw, mallory)
    assert len(raw.of("message_sent")) <= 1


async def test_a_second_connect_on_one_connection_is_not_greeted_again(raw: RawClient, mallory: str) -> None:
    await raw.send('40{"token":"x"}')
    await assert_alive(raw, mallory)
    assert not [frame for frame in raw.frames if frame.startswith("44")]
    assert len(raw.of("connection_success")) == 1


async def test_events_before_the_connect_are_ignored(chat: Deployment, mallory: str) -> None:
    async with RawClient(chat.edges[0], mallory) as raw:
        await raw.send("41")
        await raw.send(f"421{event('send_message', {'username': mallory, 'text': 'too late'})}")
        async with RawClient(chat.edges[0], mallory) as other:
            await assert_alive(other, mallory)
    assert traces(chat, mallory)[0] == 1


@pytest.mark.parametrize("frame", ["x", "9", "", "\u00b2", "5", "6", "2probe", "0{}", b"\xff"], ids=repr)
async def test_a_frame_that_is_no_packet_leaves_nothing_behind(
    chat: Deployment, mallory: str, frame: str | bytes
) -> None:
    async with RawClient(chat.edges[0], mallory) as raw:
        before = await sockets(chat)
        await raw.send(frame)
        async with RawClient(chat.edges[0], mallory) as other:
            await assert_alive(other, mallory)
    await until_sockets(chat, before - 1)


async def sockets(chat: Deployment) -> int:
    async with httpx.AsyncClient() as http:
        return int((await http.get(f"{chat.edges[0].url}/readyz")).json()["sockets"])


async def until_sockets(chat: Deployment, count: int) -> None:
    async with asyncio.timeout(5):
        while await sockets(chat) > count:
            await asyncio.sleep(0.05)


# Chats, ids and pages


BAD_IDS = ("", "nope", "5", "' OR 1=1 --", "a\0b", "00000000-0000-0000-0000-00000000000g", "x" * 1_000)


@pytest.mark.parametrize("chat_id", [*BAD_IDS, 5, None, [], {}, True], ids=repr)
@pytest.mark.parametrize("command", ["mark_as_read", "get_messages"])
async def test_an_id_that_is_no_id_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, command: str, chat_id: Any
) -> None:
    await assert_refused(chat, raw, mallory, event(command, {"chatId": chat_id}), "invalid_payload", command)


@pytest.mark.parametrize("chat_id", BAD_IDS, ids=repr)
async def test_a_cursor_of_no_chat_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, chat_id: str
) -> None:
    data = event("sync", {"cursors": {chat_id: 1}})
    await assert_refused(chat, raw, mallory, data, "invalid_payload", "sync")


SOME_ID = "01890000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "seq", ["-1", '"1"', "1.5", "null", "true", "9223372036854775808", "9" * 5_000, "1e999"]
)
async def test_a_seq_that_is_none_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, seq: str
) -> None:
    data = f'["sync",{{"cursors":{{"{SOME_ID}":{seq}}}}}]'
    await assert_refused(chat, raw, mallory, data, "invalid_payload", "sync")


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        ("get_messages", {"chatId": SOME_ID, "limit": 0}),
        ("get_messages", {"chatId": SOME_ID, "limit": -5}),
        ("get_messages", {"chatId": SOME_ID, "limit": "10"}),
        ("get_messages", {"chatId": SOME_ID, "before": -1}),
        ("get_messages", {"chatId": SOME_ID, "after": 2**63}),
        ("mark_as_read", {"chatId": SOME_ID, "upTo": -1}),
        ("mark_as_read", {"chatId": SOME_ID, "upTo": "all"}),
        ("list_chats", {"limit": 0}),
        ("list_chats", {"limit": -1}),
        ("list_chats", {"cursor": 5}),
        ("list_chats", {"cursor": ""}),
        ("list_chats", {"cursor": "nonsense"}),
        ("list_chats", {"cursor": "äöü"}),
        ("list_chats", {"cursor": "WzFd"}),
        ("list_chats", {"cursor": "WzldJ1tbW1tbW1tb"}),
        ("list_chats", {"cursor": "Wzk5OTk5OTk5OTk5OTk5OTk5OTksbnVsbF0="}),
        ("join_chat", {"username": "x", "limit": 0}),
        ("sync", {"cursors": []}),
        ("sync", {"cursors": None}),
        ("sync", {}),
        ("typing", {"isTyping": True}),
        ("typing", {"isTyping": "yes", "username": "x"}),
        ("typing", {"username": "x"}),
        ("typing", {"isTyping": True, "username": "x", "chatId": SOME_ID}),
        ("refresh_token", {}),
        ("refresh_token", {"token": 5}),
    ],
    ids=str,
)
async def test_a_bad_argument_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, command: str, payload: Any
) -> None:
    await assert_refused(chat, raw, mallory, event(command, payload), "invalid_payload", command)


ABOUT_A_CHAT: dict[str, Callable[[str], dict[str, Any]]] = {
    "mark_as_read": lambda chat_id: {"chatId": chat_id},
    "get_messages": lambda chat_id: {"chatId": chat_id},
    "sync": lambda chat_id: {"cursors": {chat_id: 0}},
    "typing": lambda chat_id: {"chatId": chat_id, "isTyping": True},
}


@pytest.mark.parametrize("command", ABOUT_A_CHAT)
async def test_a_chat_that_does_not_exist_is_not_found(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    data = event(command, ABOUT_A_CHAT[command](str(uuid.uuid4())))
    await assert_refused(chat, raw, mallory, data, "chat_not_found", command)


@pytest.mark.parametrize("command", ABOUT_A_CHAT)
async def test_a_chat_of_others_is_closed_and_stays_as_it_is(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    alice = with_profile(chat, f"alice_{mallory}")
    async with RawClient(chat.edges[0], alice) as hers:
        ack = await hers.ask(event("send_message", {"username": bob, "text": "between us"}))
        chat_id = ack["message"]["chatId"]
        marks = "SELECT user_id, delivered_seq, read_seq, joined_at FROM chat_members WHERE chat_id = :c"
        before = chat.rows(marks, c=chat_id)
        data = event(command, ABOUT_A_CHAT[command](chat_id))
        await assert_refused(chat, raw, mallory, data, "not_a_member", command)
        assert chat.rows(marks, c=chat_id) == before
        await assert_alive(hers, alice)
        assert hers.of("typing") == hers.of("message_status") == []


async def test_before_and_after_exclude_each_other(raw: RawClient, mallory: str) -> None:
    ack = await raw.ask(event("send_message", {"username": mallory, "text": "hi"}))
    both = {"chatId": ack["message"]["chatId"], "before": 1, "after": 1}
    refusal = await raw.ask(event("get_messages", both))
    assert (refusal["code"], refusal["retryable"]) == ("invalid_payload", False)


@pytest.fixture
async def long_chat(raw: RawClient, mallory: str) -> str:
    """Fill a chat with 120 messages; return its id."""
    posted = [
        await raw.post(event("send_message", {"username": mallory, "text": f"{n}"})) for n in range(120)
    ]
    acks = [await raw.ack_of(ack_id) for ack_id in posted]
    return str(acks[-1]["message"]["chatId"])


@pytest.mark.parametrize(
    ("page", "first", "last", "has_more"),
    [
        ({}, 71, 120, True),
        ({"limit": 10**6}, 21, 120, True),
        ({"limit": 10**18}, 21, 120, True),
        ({"before": 0}, None, None, False),
        ({"before": 1}, None, None, False),
        ({"before": 2}, 1, 1, False),
        ({"before": 2**63 - 1, "limit": 1}, 120, 120, True),
        ({"after": 0, "limit": 1}, 1, 1, True),
        ({"after": 119}, 120, 120, False),
        ({"after": 120}, None, None, False),
        ({"after": 2**63 - 1}, None, None, False),
    ],
    ids=str,
)
async def test_pages_at_the_edges_of_a_chat(
    raw: RawClient, long_chat: str, page: dict[str, int], first: int | None, last: int | None, has_more: bool
) -> None:
    ack = await raw.ask(event("get_messages", {"chatId": long_chat, **page}))
    expected = [] if first is None or last is None else [*range(first, last + 1)]
    assert ([m["seq"] for m in ack["messages"]], ack["hasMore"]) == (expected, has_more)


async def test_a_mark_beyond_the_end_stops_at_the_end(raw: RawClient, long_chat: str) -> None:
    ack = await raw.ask(event("mark_as_read", {"chatId": long_chat, "upTo": 2**63 - 1}))
    assert ack == {"success": True, "readUpTo": 120, "unread": 0}


async def test_a_cursor_beyond_the_end_is_no_gap(raw: RawClient, long_chat: str) -> None:
    ack = await raw.ask(event("sync", {"cursors": {long_chat: 2**63 - 1}}))
    assert ack == {"success": True, "chats": []}


# Retries


async def test_a_retry_gets_the_same_answer_and_is_stored_once(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    data = event("send_message", {"username": bob, "text": "once", "clientId": "c1"})
    assert await raw.ask(data) == await raw.ask(data)
    assert traces(chat, mallory)[0] == 1


async def test_a_retry_after_a_reconnect_gets_the_same_answer(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    data = event("send_message", {"username": bob, "text": "once", "clientId": "c1"})
    first = await raw.ask(data)
    await raw.ws.close()
    async with RawClient(chat.edges[0], mallory) as again:
        assert await again.ask(data) == first
    assert traces(chat, mallory)[0] == 1


async def test_the_same_client_id_on_two_sockets_at_once_is_stored_once(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    async with RawClient(chat.edges[0], mallory) as other:
        for number in range(20):
            data = event("send_message", {"username": bob, "text": "once", "clientId": f"c{number}"})
            one, two = await asyncio.gather(raw.ask(data), other.ask(data))
            assert one == two
    assert traces(chat, mallory)[0] == 20


async def test_a_burst_of_one_client_id_is_stored_once(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    data = event("send_message", {"username": bob, "text": "once", "clientId": "c1"})
    posted = [await raw.post(data) for _ in range(50)]
    ids = {(await raw.ack_of(ack_id))["message"]["id"] for ack_id in posted}
    assert (len(ids), traces(chat, mallory)[0]) == (1, 1)


async def test_a_bad_event_in_a_burst_harms_no_other(chat: Deployment, raw: RawClient, mallory: str) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    texts = ["" if n % 3 == 0 else f"{n}" for n in range(60)]
    posted = [await raw.post(event("send_message", {"username": bob, "text": text})) for text in texts]
    acks = [await raw.ack_of(ack_id) for ack_id in posted]
    assert [ack["success"] for ack in acks] == [bool(text) for text in texts]
    assert [ack["message"]["seq"] for ack in acks if ack["success"]] == [*range(1, 41)]


# Long polling


@pytest.fixture
async def polling(chat: Deployment, mallory: str) -> AsyncIterator[RawPolling]:
    async with RawPolling(chat.edges[0], mallory) as client:
        yield client


async def test_a_hundred_sends_in_one_poll_are_all_answered(
    chat: Deployment, polling: RawPolling, mallory: str
) -> None:
    sends = [f"42{n}{event('send_message', {'username': mallory, 'text': f'{n}'})}" for n in range(100)]
    assert (await polling.post(*sends)).status_code == 200
    assert len(await polling.expect("43", 100)) == 100
    assert traces(chat, mallory)[0] == 100


async def test_bad_packets_between_good_ones_in_one_poll_harm_nobody(
    chat: Deployment, polling: RawPolling, mallory: str
) -> None:
    good = event("send_message", {"username": mallory, "text": "hi"})
    bad = ("49", "42[", f"42{'9' * 200}[]", "bAAEC", '451-["send_message",{}]', '42["connect",{}]', "43[]")
    await polling.post(f"421{good}", *bad, f"422{good}")
    acks = await polling.expect("43", 2)
    assert all('"success":true' in ack for ack in acks)
    assert traces(chat, mallory) == [2, 1, 0]


async def test_a_poll_just_over_the_limit_is_refused_and_the_connection_lives(
    chat: Deployment, polling: RawPolling, mallory: str
) -> None:
    await polling.post(f"421{padded(mallory, 65_537)}")
    (ack,) = await polling.expect("431")
    assert '"payload_too_large"' in ack
    await polling.post(f"422{event('send_message', {'username': mallory, 'text': 'hi'})}")
    await polling.expect("432")


async def test_a_poll_of_ten_megabytes_harms_nobody_else(
    chat: Deployment, polling: RawPolling, raw: RawClient, mallory: str
) -> None:
    assert (await polling.post_body(b"4" * 10_000_000)).status_code == 413
    await assert_alive(raw, mallory)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"x", b"", b"\x1e\x1e", b"4\xed\xa0\x80", b"b!!!"], ids=repr)
async def test_a_body_that_is_no_payload_harms_nobody_else(
    chat: Deployment, polling: RawPolling, raw: RawClient, mallory: str, body: bytes
) -> None:
    assert (await polling.post_body(body)).status_code in {200, 400}
    await assert_alive(raw, mallory)
