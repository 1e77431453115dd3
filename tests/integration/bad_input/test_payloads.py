"""Payloads of the wrong shape are refused with a code, and nothing is stored."""

import json
from typing import Any

import msgspec
import pytest

from infra.wire.registry import CLIENT_COMMANDS
from tests.harness.deployment import Deployment
from tests.harness.raw import RawClient, event
from tests.integration.bad_input.refusals import assert_closed, assert_refused, traces

NOT_AN_OBJECT = ("5", '"text"', "[]", "[1,2]", "null", "true", "1.5", '""')


@pytest.mark.parametrize("payload", NOT_AN_OBJECT)
async def test_a_payload_that_is_not_an_object_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, payload: str
) -> None:
    await assert_refused(chat, raw, mallory, f'["send_message",{payload}]', "invalid_payload", "send_message")


@pytest.mark.parametrize("command", CLIENT_COMMANDS)
@pytest.mark.parametrize("payloads", [",{},{}", ",[]", ",null"], ids=["two", "list", "null"])
async def test_every_event_wants_exactly_one_object(
    chat: Deployment, raw: RawClient, mallory: str, command: str, payloads: str
) -> None:
    await assert_refused(chat, raw, mallory, f'["{command}"{payloads}]', "invalid_payload", command)


NEEDS_NOTHING = {"list_chats", "list_blocked", "get_settings", "update_settings"}
"""Commands without a required field."""


@pytest.mark.parametrize("command", [name for name in CLIENT_COMMANDS if name not in NEEDS_NOTHING])
async def test_no_payload_is_an_empty_object_which_lacks_what_the_event_needs(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    await assert_refused(chat, raw, mallory, f'["{command}"]', "invalid_payload", command)


async def test_a_list_needs_no_payload(raw: RawClient) -> None:
    assert await raw.ask('["list_chats"]') == {"success": True, "chats": [], "nextCursor": None}
    assert await raw.ask('["list_blocked"]') == {"success": True, "users": [], "nextCursor": None}


@pytest.mark.parametrize("command", ["get_settings", "update_settings"])
async def test_settings_need_no_payload(raw: RawClient, command: str) -> None:
    assert await raw.ask(f'["{command}"]') == {
        "success": True,
        "settings": {
            "messagesFrom": "everyone",
            "readReceipts": True,
            "showPresence": "chats",
            "pushTexts": True,
        },
    }


@pytest.mark.parametrize(
    "until", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2030-01-01T00:00:00", "forever"]
)
async def test_a_chat_is_not_muted_until_a_time_that_nobody_can_read(
    chat: Deployment, raw: RawClient, mallory: str, until: str
) -> None:
    note = await raw.ask(event("send_message", {"username": mallory, "text": "hi"}))
    payload = {"chatId": note["message"]["chatId"], "mutedUntil": until}
    assert (await raw.ask(event("set_chat", payload)))["code"] == "invalid_payload"
    assert (await raw.ask('["list_chats"]'))["success"]


BAD_FIELDS = {
    "no username": '{"text":"hi"}',
    "no text": '{"username":"USER"}',
    "nothing": "{}",
    "username a number": '{"username":5,"text":"hi"}',
    "username null": '{"username":null,"text":"hi"}',
    "username a list": '{"username":["USER"],"text":"hi"}',
    "username empty": '{"username":"","text":"hi"}',
    "username too long": '{"username":"' + "u" * 65 + '","text":"hi"}',
    "username too long when folded": '{"username":"' + "e\u0301" * 65 + '","text":"hi"}',
    "username written too long": '{"username":"' + " " * 512 + 'u","text":"hi"}',
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
}


@pytest.mark.parametrize("payload", BAD_FIELDS.values(), ids=BAD_FIELDS)
async def test_a_bad_field_is_refused(chat: Deployment, raw: RawClient, mallory: str, payload: str) -> None:
    data = f'["send_message",{payload.replace("USER", mallory)}]'
    await assert_refused(chat, raw, mallory, data, "invalid_payload", "send_message")


NOT_JSON = {
    "bad escape": '{"username":"USER","text":"\\q"}',
    "raw control character": '{"username":"USER","text":"\x01"}',
    "not JSON": '{"username":"USER","text":}',
    "unfinished": '{"username":"USER","text":"hi"',
    "trailing words": '{"username":"USER","text":"hi"} and more',
    "single quotes": "{'username':'USER','text':'hi'}",
    "not a number": '{"username":"USER","text":NaN}',
}


@pytest.mark.parametrize("payload", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_not_json_ends_the_connection(
    chat: Deployment, raw: RawClient, mallory: str, payload: str
) -> None:
    await assert_closed(chat, raw, mallory, f'427["send_message",{payload.replace("USER", mallory)}]')
    assert raw.acks[7]["code"] == "invalid_payload"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t \u2003",
        "\u200b\u2060",
        "\u3164\u2800\ufe0f",
        "x" * 4_001,
        "\U0001f600" * 4_001,
        "a\0b",
        "\0",
    ],
    ids=[
        "empty",
        "blank",
        "odd blanks",
        "zero width",
        "fillers",
        "too long",
        "too many emoji",
        "NUL inside",
        "NUL only",
    ],
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


ID = "01890000-0000-7000-8000-000000000000"
COMPLETE: dict[str, dict[str, Any]] = {
    "send_message": {
        "username": "USER",
        "userId": ID,
        "text": "hi",
        "data": {"note": "x"},
        "replyTo": 1,
        "clientId": "c",
    },
    "edit_message": {"chatId": ID, "seq": 1, "text": "hi", "data": {"note": "x"}, "clientId": "c"},
    "unsend_message": {"chatId": ID, "seq": 1},
    "react": {"chatId": ID, "seq": 1, "emoji": "👍", "on": True},
    "clear_chat": {"chatId": ID, "upTo": 1},
    "join_chat": {"username": "USER", "userId": ID, "limit": 1},
    "mark_as_read": {"chatId": ID, "upTo": 1},
    "get_messages": {"chatId": ID, "before": 2, "after": 1, "limit": 1},
    "list_chats": {"box": "inbox", "cursor": "WzFd", "limit": 1, "since": "2026-01-01T00:00:00Z"},
    "sync": {"cursors": {ID: 1}, "only": True},
    "typing": {"isTyping": True, "username": "USER", "userId": ID, "chatId": ID},
    "block_user": {"username": "USER", "userId": ID},
    "unblock_user": {"username": "USER", "userId": ID},
    "list_blocked": {"cursor": "WzFd", "limit": 1},
    "get_settings": {},
    "update_settings": {
        "messagesFrom": "requests",
        "readReceipts": False,
        "showPresence": "nobody",
        "pushTexts": False,
    },
    "accept_chat": {"chatId": ID},
    "decline_chat": {"chatId": ID},
    "set_chat": {"chatId": ID, "mutedUntil": "2030-01-01T00:00:00Z", "pinned": True, "archived": False},
    "report": {"chatId": ID, "seq": 1, "reason": "spam", "note": "again"},
    "register_device": {
        "channel": "webpush",
        "address": "https://push.example/x",
        "keys": {"p256dh": "k", "auth": "a"},
        "timeZone": "UTC",
        "language": "pt-BR",
    },
    "unregister_device": {"deviceId": ID},
    "refresh_token": {"token": "a.b.c"},
}
"""Every event with every field that it can have."""
TEXT_FIELDS = [
    (command, path)
    for command, payload in COMPLETE.items()
    for field, value in payload.items()
    for path in ([(field, inner) for inner in value] if isinstance(value, dict) else [(field,)])
    if field not in ("data", "cursors") and isinstance(payload[path[0]], str | dict)
]
"""The path to every text in them. `data` may hold any text, and what it may not is tested on its own."""


@pytest.mark.parametrize("command", CLIENT_COMMANDS)
def test_the_complete_payloads_have_every_field(command: str) -> None:
    fields = msgspec.structs.fields(CLIENT_COMMANDS[command].payload)
    assert set(COMPLETE[command]) == {field.encode_name for field in fields}


@pytest.mark.parametrize(
    ("command", "path"), TEXT_FIELDS, ids=[".".join((command, *path)) for command, path in TEXT_FIELDS]
)
async def test_a_nul_in_any_text_is_refused_for_what_it_is(
    chat: Deployment, raw: RawClient, mallory: str, command: str, path: tuple[str, ...]
) -> None:
    note = await raw.ask(event("send_message", {"username": mallory, "text": "hi"}))
    before = traces(chat, mallory)
    complete = json.dumps(COMPLETE[command]).replace("USER", mallory).replace(ID, note["message"]["chatId"])
    payload = json.loads(complete)
    inner = payload if len(path) == 1 else payload[path[0]]
    inner[path[-1]] = "a\0b"
    ack = await raw.ask(event(command, payload))
    assert ack["code"] in ("invalid_payload", "user_not_found", "unauthorized"), ack
    assert traces(chat, mallory) == before


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


@pytest.mark.parametrize(
    "text",
    [
        "\u200b\u3164x\u2800 \u202e\n",
        "\u2764\ufe0f",
        "e\u0301\u00e9",
        "\u0646\u06cc\u0645\u200c\u0631\u0648\u0632",
        " a\u00a0 ",
    ],
    ids=["hidden characters", "selector", "decomposed", "joiner", "spaces"],
)
async def test_a_text_is_kept_as_it_was_sent(raw: RawClient, mallory: str, text: str) -> None:
    ack = await raw.ask(event("send_message", {"username": mallory, "text": text}))
    assert ack["message"]["text"] == text
    assert (await raw.expect("new_message"))["text"] == text


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
