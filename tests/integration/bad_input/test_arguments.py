"""Invalid ids, other people's chats, and pages beyond the ends."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.deployment import Deployment, with_profile
from tests.harness.raw import RawClient, event
from tests.integration.bad_input.refusals import assert_alive, assert_refused

BAD_IDS = ("", "nope", "5", "' OR 1=1 --", "a\0b", "00000000-0000-0000-0000-00000000000g", "x" * 1_000)


@pytest.mark.parametrize("chat_id", [*BAD_IDS, 5, None, [], {}, True], ids=repr)
@pytest.mark.parametrize("command", ["mark_as_read", "get_messages"])
async def test_a_malformed_id_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, command: str, chat_id: Any
) -> None:
    await assert_refused(chat, raw, mallory, event(command, {"chatId": chat_id}), "invalid_payload", command)


@pytest.mark.parametrize("chat_id", BAD_IDS, ids=repr)
async def test_a_cursor_with_a_malformed_chat_id_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, chat_id: str
) -> None:
    data = event("sync", {"cursors": {chat_id: 1}})
    await assert_refused(chat, raw, mallory, data, "invalid_payload", "sync")


SOME_ID = "01890000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "seq", ["-1", '"1"', "1.5", "null", "true", "9223372036854775808", "9" * 5_000, "1e999"]
)
async def test_a_malformed_seq_is_refused(chat: Deployment, raw: RawClient, mallory: str, seq: str) -> None:
    data = f'["sync",{{"cursors":{{"{SOME_ID}":{seq}}}}}]'
    await assert_refused(chat, raw, mallory, data, "invalid_payload", "sync")


BAD_ARGUMENTS: tuple[tuple[str, Any], ...] = (
    ("get_messages", {"chatId": SOME_ID, "limit": 0}),
    ("get_messages", {"chatId": SOME_ID, "limit": -5}),
    ("get_messages", {"chatId": SOME_ID, "limit": "10"}),
    ("get_messages", {"chatId": SOME_ID, "before": -1}),
    ("get_messages", {"chatId": SOME_ID, "after": 2**63}),
    ("mark_as_read", {"chatId": SOME_ID, "upTo": -1}),
    ("mark_as_read", {"chatId": SOME_ID, "upTo": "all"}),
    ("list_chats", {"limit": 0}),
    ("list_chats", {"limit": -1}),
    ("list_chats", {"since": ""}),
    ("list_chats", {"since": 5}),
    ("list_chats", {"since": "2026-01-31"}),
    ("list_chats", {"since": "2026-01-31T12:00:00"}),
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
    ("sync", {"cursors": {}, "only": None}),
    ("sync", {"cursors": {}, "only": 1}),
    ("typing", {"isTyping": True}),
    ("typing", {"isTyping": "yes", "username": "x"}),
    ("typing", {"username": "x"}),
    ("typing", {"isTyping": True, "username": "x", "chatId": SOME_ID}),
    ("refresh_token", {}),
    ("refresh_token", {"token": 5}),
)


@pytest.mark.parametrize(("command", "payload"), BAD_ARGUMENTS, ids=str)
async def test_a_bad_argument_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, command: str, payload: Any
) -> None:
    await assert_refused(chat, raw, mallory, event(command, payload), "invalid_payload", command)


ABOUT_A_CHAT: dict[str, Callable[[str], dict[str, Any]]] = {
    "mark_as_read": lambda chat_id: {"chatId": chat_id},
    "get_messages": lambda chat_id: {"chatId": chat_id},
    "typing": lambda chat_id: {"chatId": chat_id, "isTyping": True},
}


@pytest.mark.parametrize("command", ABOUT_A_CHAT)
async def test_a_chat_that_does_not_exist_is_not_found(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    data = event(command, ABOUT_A_CHAT[command](str(uuid.uuid4())))
    await assert_refused(chat, raw, mallory, data, "chat_not_found", command)


@pytest.mark.parametrize("command", ABOUT_A_CHAT)
async def test_other_peoples_chat_is_closed_and_stays_as_it_is(
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


@pytest.mark.parametrize("only", [{}, {"only": True}], ids=["all chats", "only these"])
async def test_a_cursor_does_not_tell_other_peoples_chat_from_none(
    chat: Deployment, raw: RawClient, mallory: str, only: dict[str, bool]
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    async with RawClient(chat.edges[0], with_profile(chat, f"alice_{mallory}")) as hers:
        ack = await hers.ask(event("send_message", {"username": bob, "text": "between us"}))
    for chat_id in (ack["message"]["chatId"], str(uuid.uuid4())):
        answer = await raw.ask(event("sync", {"cursors": {chat_id: 0}, **only}))
        assert answer == {"success": True, "chats": [], "gone": [chat_id]}


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_list_of_chats_since_any_time_is_answered(raw: RawClient, since: str) -> None:
    ack = await raw.ask(event("list_chats", {"since": since}))
    assert (ack["success"], ack["chats"]) == (True, [])


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


async def test_a_cursor_beyond_the_end_is_not_a_gap(raw: RawClient, long_chat: str) -> None:
    ack = await raw.ask(event("sync", {"cursors": {long_chat: 2**63 - 1}}))
    assert ack == {"success": True, "chats": []}
