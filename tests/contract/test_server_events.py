"""What clients receive: every event and ack as the golden files spell it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from infra.wire import events
from infra.wire.errors import ErrorCode, Failure
from infra.wire.registry import CLIENT_COMMANDS, SERVER_EVENTS
from tests.contract.golden import ALICE, BOB, CHAT, encoded, load, on_the_wire

NOON = "2026-01-31T12:00:00.000Z"

MESSAGE = events.Message(
    id="0190d3a1-0000-7000-8000-000000000001",
    chat_id=CHAT,
    seq=7,
    sender_id=ALICE,
    sender_username="alice",
    recipient_id=BOB,
    recipient_username="bob",
    text="Hällo 👋",
    created_at=NOON,
    status="sent",
    client_id="c-1",
)
CHANGED = msgspec.structs.replace(
    MESSAGE,
    data=msgspec.Raw(b'{"image":"a.png"}'),
    reply_to=events.Quote(
        seq=5, sender_id=BOB, sender_username="bob", text="", deleted_at="2026-01-31T11:58:00.000Z"
    ),
    change=3,
    edited_at="2026-01-31T12:01:00.000Z",
    reactions=[events.Reaction(emoji="👍", user_ids=[BOB, ALICE])],
)
UNSENT = msgspec.structs.replace(
    MESSAGE, text="", change=4, deleted_at="2026-01-31T12:02:00.000Z", reply_to=events.Quote(seq=1)
)
OLDER = msgspec.structs.replace(MESSAGE, seq=6, status="read", client_id=msgspec.UNSET)
SYSTEM = msgspec.structs.replace(
    MESSAGE,
    text="Your order was shipped.",
    client_id=msgspec.UNSET,
    reply_to=events.Quote(
        seq=5, sender_id=ALICE, sender_username="alice", text="Your order was packed.", kind="system"
    ),
    kind="system",
)
PEER = events.Peer(
    user_id=BOB,
    username="bob",
    online=False,
    last_seen="2026-01-31T11:59:00.000Z",
    delivered_up_to=6,
    read_up_to=5,
)
DESCRIBED: dict[str, Any] = {
    "name": "Bob Ångström",
    "avatar_url": "https://example.com/bob.png",
    "data": msgspec.Raw(b'{"team":"red"}'),
}
FAILURE = Failure.of(ErrorCode.USER_NOT_FOUND, client_id="c-1")
TOO_FAST = Failure.of(ErrorCode.RATE_LIMITED, retry_after_ms=140)
MUTED = events.ChatChanged(
    chat_id=CHAT, cleared_up_to=6, box="inbox", pinned=True, muted_until=NOON, blocked=False
)
REQUESTED = events.ChatChanged(
    chat_id=CHAT, cleared_up_to=0, box="requests", pinned=False, muted_until=None, blocked=True
)
SETTINGS = events.Settings(
    messages_from="requests", read_receipts=False, show_presence="chats", push_texts=True
)
HELLO = events.ConnectionSuccess(
    user_id=ALICE,
    socket_id="s-1",
    server_time=NOON,
    expires_at="2026-01-31T13:00:00.000Z",
    username="alice",
)


def _status(status: Any) -> events.MessageStatus:
    return events.MessageStatus(
        chat_id=CHAT, user_id=BOB, status=status, up_to=7, at="2026-01-31T12:00:01.000Z"
    )


EVENTS: dict[str, list[msgspec.Struct]] = {
    events.CONNECTION_SUCCESS: [HELLO, msgspec.structs.replace(HELLO, username=msgspec.UNSET)],
    events.TEST_MESSAGE: [events.TestMessage(message="Connected to BB-Gram chat.", timestamp=NOON)],
    events.PING: [events.Ping(timestamp=NOON)],
    events.MESSAGE_SENT: [MESSAGE],
    events.NEW_MESSAGE: [MESSAGE, OLDER, SYSTEM],
    events.MESSAGE_CHANGED: [CHANGED, UNSENT],
    events.CHAT_CHANGED: [MUTED, REQUESTED],
    events.UNREAD_CHANGED: [events.UnreadChanged(total=7, chats=2)],
    events.SETTINGS_CHANGED: [SETTINGS],
    events.MESSAGE_STATUS: [_status("delivered"), _status("read")],
    events.TYPING: [events.TypingStatus(chat_id=CHAT, user_id=BOB, username="bob", is_typing=True)],
    events.USER_STATUS: [
        events.UserStatus(user_id=BOB, username="bob", status="online", last_seen=None),
        events.UserStatus(
            user_id=BOB, username="bob", status="offline", last_seen="2026-01-31T11:59:00.000Z"
        ),
    ],
    events.ERROR: [
        events.error_event(FAILURE, "send_message"),
        events.error_event(Failure.of(ErrorCode.BUSY)),
        events.error_event(TOO_FAST, "send_message"),
    ],
}

ACKS: dict[str, msgspec.Struct | msgspec.Raw] = {
    "send_message": events.send_ack(msgspec.Raw(msgspec.json.encode(MESSAGE))),
    "join_chat": events.JoinAck(
        chat_id=CHAT,
        peer=PEER,
        messages=[OLDER, MESSAGE],
        has_more=True,
        delivered_up_to=7,
        read_up_to=6,
        change=4,
        box="requests",
        blocked=True,
    ),
    "edit_message": events.ChangeAck(message=CHANGED),
    "unsend_message": events.ChangeAck(message=UNSENT),
    "react": events.ChangeAck(message=CHANGED),
    "clear_chat": events.ClearAck(cleared_up_to=6),
    "report": events.ReportAck(report_id="0190d3a0-0000-7000-8000-0000000000ee"),
    "mark_as_read": events.ReadAck(read_up_to=7, unread=0),
    "get_messages": events.MessagesAck(messages=[MESSAGE], has_more=False, change=4),
    "list_chats": events.ChatsAck(
        chats=[
            events.ChatSummary(
                chat_id=CHAT,
                peer=PEER,
                last_message=MESSAGE,
                unread=1,
                read_up_to=6,
                delivered_up_to=7,
                last_seq=7,
                change=4,
                cleared_up_to=6,
                pinned=True,
                muted_until=NOON,
            ),
            events.ChatSummary(
                chat_id=CHAT,
                peer=msgspec.structs.replace(PEER, last_seen=None, **DESCRIBED),
                last_message=None,
                unread=0,
                read_up_to=0,
                delivered_up_to=0,
                last_seq=0,
                change=0,
                box="archived",
                blocked=True,
            ),
        ],
        next_cursor="abc",
        since="2026-01-31T12:00:00.000Z",
    ),
    "sync": events.SyncAck(
        chats=[
            events.ChatGap(
                chat_id=CHAT,
                messages=[MESSAGE],
                has_more=False,
                change=4,
                changes=[CHANGED, UNSENT],
                has_more_changes=False,
                cleared_up_to=6,
            )
        ],
        gone=["0190d3a0-0000-7000-8000-0000000000cd"],
    ),
    "typing": events.Done(),
    "block_user": events.BlockAck(chat_id=CHAT, user_id=BOB, username="bob", blocked=True),
    "unblock_user": events.BlockAck(chat_id=CHAT, user_id=BOB, username="bob", blocked=False),
    "list_blocked": events.BlockedAck(
        users=[
            events.BlockedUser(chat_id=CHAT, user_id=BOB, username="bob", blocked_at=NOON),
            events.BlockedUser(chat_id=CHAT, user_id=BOB, username="bob", blocked_at=NOON, **DESCRIBED),
        ],
        next_cursor="abc",
    ),
    "get_settings": events.SettingsAck(settings=SETTINGS),
    "update_settings": events.SettingsAck(settings=SETTINGS),
    "accept_chat": events.ChatAck(chat=MUTED),
    "decline_chat": events.ChatAck(chat=msgspec.structs.replace(REQUESTED, box="declined")),
    "set_chat": events.ChatAck(chat=MUTED),
    "register_device": events.DeviceAck(device_id="0190d3a0-0000-7000-8000-0000000000dd"),
    "unregister_device": events.Done(),
    "refresh_token": events.RefreshAck(expires_at="2026-01-31T13:00:00.000Z"),
    "failed": events.error_ack(FAILURE),
    "rate_limited": events.error_ack(TOO_FAST),
}


@pytest.mark.parametrize("name", load("server_events"))
def test_an_event_looks_as_in_the_golden_file(name: str) -> None:
    assert [on_the_wire(example) for example in EVENTS[name]] == load("server_events")[name]


@pytest.mark.parametrize("name", load("acks"))
def test_an_ack_looks_as_in_the_golden_file(name: str) -> None:
    assert on_the_wire(ACKS[name]) == load("acks")[name]


def test_every_server_event_has_its_golden_examples() -> None:
    assert set(load("server_events")) == set(SERVER_EVENTS)


@pytest.mark.parametrize("name", SERVER_EVENTS)
def test_an_event_has_the_payload_that_the_registry_names(name: str) -> None:
    assert {type(example) for example in EVENTS[name]} == {SERVER_EVENTS[name].payload}


@pytest.mark.parametrize("name", CLIENT_COMMANDS)
def test_an_ack_has_the_payload_that_the_registry_names(name: str) -> None:
    ack = msgspec.json.decode(encoded(load("acks")[name]), type=CLIENT_COMMANDS[name].ack)
    assert on_the_wire(ack) == load("acks")[name]


def test_every_command_has_its_golden_ack() -> None:
    assert set(load("acks")) == {*CLIENT_COMMANDS, "failed", "rate_limited"}


def test_a_stored_message_is_read_back_as_it_was_written() -> None:
    golden = load("server_events")[events.NEW_MESSAGE]
    assert [msgspec.json.decode(encoded(one), type=events.Message) for one in golden] == [
        MESSAGE,
        OLDER,
        SYSTEM,
    ]


@pytest.mark.parametrize(
    ("moment", "rendered"),
    [
        (datetime(2026, 1, 31, 12, tzinfo=UTC), NOON),
        (datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))), NOON),
        (datetime(2026, 1, 31, 12, 0, 0, 123_999, tzinfo=UTC), "2026-01-31T12:00:00.123Z"),
    ],
)
def test_times_are_iso_8601_utc_with_milliseconds(moment: datetime, rendered: str) -> None:
    assert events.iso_ms(moment) == rendered
