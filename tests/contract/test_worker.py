"""The worker's half of the wire, against the same golden files as the edge's."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from kombu.exceptions import DecodeError
from kombu.serialization import loads

from infra.wire.batch import VERSION, Batch, Event
from infra.wire.commands import (
    AcceptChat,
    BlockUser,
    BroadcastPresence,
    CatchUp,
    ClearChat,
    CloseReport,
    ConfirmDelivery,
    Cursor,
    DeclineChat,
    DisconnectUser,
    EditMessage,
    EnsureProfile,
    EraseUser,
    ExportUser,
    GetMessages,
    GetReport,
    GetSettings,
    GetUser,
    JoinChat,
    ListBlocked,
    ListChats,
    ListReports,
    MarkAsRead,
    PushKeys,
    PutUser,
    React,
    RegisterDevice,
    RemoveMessage,
    Report,
    ReviseMessage,
    SendMessage,
    SendSystemMessage,
    SetChat,
    Sync,
    Typing,
    UnblockUser,
    UnregisterDevice,
    UnsendMessage,
    UpdateSettings,
)
from infra.wire.errors import ErrorCode, Failure
from infra.wire.inbox import Ahead, Answer, CatchUpPage, Emit, InboxEntry, PendingMessage, Position, Target
from infra.wire.registry import COMMANDS as REGISTRY
from infra.wire.registry import WORKER_COMMANDS
from infra.wire.serializer import CONTENT_TYPE, register_serializer
from tests.contract.golden import (
    ALICE,
    BATCH_ID,
    BOB,
    CHAT,
    EVENT_ID,
    TRACE,
    encoded,
    load,
    on_the_wire,
    with_unknown_fields,
)
from workers.requests import decode

CHAT_ID = UUID(CHAT)
COMMANDS: dict[str, list[msgspec.Struct]] = {
    "send_message": [
        SendMessage(username="bob", text="Hällo 👋", client_id="c-1"),
        SendMessage(username="bob", text="hi"),
        SendMessage(user_id=UUID(BOB), data=msgspec.Raw(b'{"image":"a.png"}'), reply_to=5),
    ],
    "edit_message": [
        EditMessage(chat_id=CHAT_ID, seq=7, text="Hallo", data=msgspec.Raw(b"null"), client_id="c-2"),
        EditMessage(chat_id=CHAT_ID, seq=7, text="Hallo"),
    ],
    "unsend_message": [UnsendMessage(chat_id=CHAT_ID, seq=7)],
    "react": [React(chat_id=CHAT_ID, seq=7, emoji="👍", on=True)],
    "clear_chat": [ClearChat(chat_id=CHAT_ID, up_to=6), ClearChat(chat_id=CHAT_ID)],
    "join_chat": [
        JoinChat(username="bob", limit=20),
        JoinChat(username="bob"),
        JoinChat(user_id=UUID(BOB)),
    ],
    "mark_as_read": [MarkAsRead(chat_id=CHAT_ID, up_to=7), MarkAsRead(chat_id=CHAT_ID)],
    "get_messages": [
        GetMessages(chat_id=CHAT_ID, before=7, limit=20),
        GetMessages(chat_id=CHAT_ID, after=0),
        GetMessages(chat_id=CHAT_ID),
    ],
    "list_chats": [
        ListChats(cursor="abc", limit=20),
        ListChats(since=datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ListChats(since=None),
        ListChats(box="requests"),
        ListChats(),
    ],
    "sync": [
        Sync(cursors={CHAT_ID: 6}),
        Sync(cursors={CHAT_ID: 6}, only=True),
        Sync(cursors={}),
        Sync(cursors={CHAT_ID: Cursor(seq=6, change=3, cleared_up_to=2)}),
        Sync(cursors={CHAT_ID: Cursor(seq=6)}),
    ],
    "typing": [
        Typing(is_typing=True, username="bob"),
        Typing(is_typing=False, chat_id=CHAT_ID),
        Typing(is_typing=False, user_id=UUID(BOB)),
    ],
    "block_user": [BlockUser(username="bob"), BlockUser(user_id=UUID(BOB))],
    "unblock_user": [UnblockUser(username="bob"), UnblockUser(user_id=UUID(BOB))],
    "list_blocked": [ListBlocked(cursor="abc", limit=20), ListBlocked()],
    "get_settings": [GetSettings()],
    "update_settings": [
        UpdateSettings(
            messages_from="requests", read_receipts=False, show_presence="nobody", push_texts=False
        ),
        UpdateSettings(messages_from="everyone"),
        UpdateSettings(),
    ],
    "accept_chat": [AcceptChat(chat_id=CHAT_ID)],
    "decline_chat": [DeclineChat(chat_id=CHAT_ID)],
    "set_chat": [
        SetChat(chat_id=CHAT_ID, muted_until=datetime(2026, 1, 31, 12, tzinfo=UTC), pinned=True),
        SetChat(chat_id=CHAT_ID, muted_until=None, archived=True),
        SetChat(chat_id=CHAT_ID),
    ],
    "report": [
        Report(chat_id=CHAT_ID, seq=7, reason="spam", note="The same again."),
        Report(chat_id=CHAT_ID, seq=7, reason="spam"),
    ],
    "register_device": [
        RegisterDevice(
            channel="webpush",
            address="https://push.example.com/send/abc",
            keys=PushKeys(
                p256dh="BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM",
                auth="tBHItJI5svbpez7KI4CCXg",
            ),
            time_zone="Europe/Berlin",
            language="pt-BR",
        ),
        RegisterDevice(channel="fcm", address="token-1"),
    ],
    "unregister_device": [UnregisterDevice(device_id=UUID("0190d3a0-0000-7000-8000-0000000000dd"))],
    "introduce": [EnsureProfile(username="alice", issued_at=1764000000.0), EnsureProfile()],
    "catch_up": [
        CatchUp(
            username="alice",
            issued_at=1764000000.0,
            after={CHAT: 6},
            keeps_cursors=True,
            until_us=1769860800000000,
            pages=4,
        ),
        CatchUp(lost_s=12.5, keeps_cursors=True, chats_after=CHAT),
    ],
    "announce": [BroadcastPresence()],
    "confirm_delivery": [ConfirmDelivery(chat_id=CHAT, spans=[(3, 7)])],
    "put_user": [
        PutUser(user_id=UUID(BOB), username="bob"),
        PutUser(
            user_id=UUID(BOB),
            username="bob",
            name="Bob Ångström",
            avatar_url="https://example.com/bob.png",
            data=msgspec.Raw(b'{"team":"red"}'),
        ),
        PutUser(user_id=UUID(BOB), username="bob", name=None, avatar_url=None, data=msgspec.Raw(b"null")),
    ],
    "get_user": [GetUser(user_id=UUID(BOB))],
    "revise_message": [
        ReviseMessage(chat_id=CHAT_ID, seq=7, text="Hello", data=msgspec.Raw(b'{"masked":true}')),
        ReviseMessage(chat_id=CHAT_ID, seq=7, text="Hello"),
    ],
    "remove_message": [RemoveMessage(chat_id=CHAT_ID, seq=7)],
    "disconnect_user": [DisconnectUser(user_id=UUID(BOB))],
    "erase_user": [EraseUser(user_id=UUID(BOB), mode="delete")],
    "export_user": [ExportUser(user_id=UUID(BOB), cursor="abc")],
    "list_reports": [ListReports(with_closed=True, cursor="abc", limit=20)],
    "get_report": [GetReport(report_id=CHAT_ID)],
    "close_report": [CloseReport(report_id=CHAT_ID)],
    "send_system_message": [
        SendSystemMessage(
            user_id=UUID(BOB),
            text="Your order was shipped.",
            data=msgspec.Raw(b'{"order":7}'),
            reply_to=5,
            client_id="api-1",
        ),
        SendSystemMessage(user_id=UUID(BOB), text="Hello"),
    ],
}


def as_event(name: str, payload: object) -> Event:
    return Event("0190d3a2000070008000000000000002", name, ALICE, "s-1", msgspec.Raw(encoded(payload)))


def read_batch(body: object) -> Batch:
    register_serializer()
    decoded: Any = loads(encoded(body), CONTENT_TYPE, "utf-8", accept={CONTENT_TYPE})  # type: ignore[no-untyped-call]
    ((batch,), _, _) = decoded
    assert isinstance(batch, Batch)
    return batch


def test_the_worker_reads_the_batch_of_the_golden_file() -> None:
    batch = read_batch(load("relay_batch"))
    assert (batch.id, batch.edge_id, batch.v) == (BATCH_ID, "edge-1", 1)
    assert [(event.name, event.user_id, event.socket_id) for event in batch.events] == [
        ("send_message", ALICE, "s-1"),
        ("mark_as_read", BOB, "s-2"),
    ]
    assert [event.expires_ms for event in batch.events] == [1769860810000, 0]
    assert decode(batch.events[0]).command == COMMANDS["send_message"][0]


def test_an_event_of_an_older_edge_never_expires() -> None:
    ((batch,), arguments, embedded) = load("relay_batch")
    older = {**batch, "events": [event[:5] for event in batch["events"]]}
    assert [event.expires_ms for event in read_batch([[older], arguments, embedded]).events] == [0, 0]


def test_an_event_of_an_older_edge_is_not_traced() -> None:
    ((batch,), arguments, embedded) = load("relay_batch")
    assert [event.trace for event in read_batch(load("relay_batch")).events] == [TRACE, None]
    older = {**batch, "events": [event[:6] for event in batch["events"]]}
    assert [event.trace for event in read_batch([[older], arguments, embedded]).events] == [None, None]


def test_payloads_reach_the_worker_unparsed() -> None:
    batch = read_batch(load("relay_batch"))
    assert [type(event.payload) for event in batch.events] == [msgspec.Raw, msgspec.Raw]


@pytest.mark.parametrize("name", WORKER_COMMANDS)
def test_the_worker_reads_the_commands_of_the_golden_file(name: str) -> None:
    payloads = load("commands")[name]
    assert [decode(as_event(name, payload)).command for payload in payloads] == COMMANDS[name]


@pytest.mark.parametrize("name", ["introduce", "catch_up"])
def test_an_edge_of_the_previous_release_does_not_say_when_a_token_was_issued(name: str) -> None:
    older = [{**payload} for payload in load("commands")[name]]
    for payload in older:
        del payload["issuedAt"]
    assert [decode(as_event(name, payload)).command.issued_at for payload in older] == [None, None]


def test_an_edge_of_the_previous_release_asks_for_one_page_of_a_catch_up() -> None:
    older = [{**payload} for payload in load("commands")["catch_up"]]
    for payload in older:
        del payload["pages"]
    assert [decode(as_event("catch_up", payload)).command.pages for payload in older] == [1, 1]


def test_an_edge_of_the_previous_release_sends_all_cursors_of_a_catch_up() -> None:
    payload = {"username": "alice", "issuedAt": 1764000000.0, "after": {CHAT: 6}, "lostS": None}
    command = decode(as_event("catch_up", payload)).command
    assert (command.after, command.keeps_cursors) == ({CHAT: 6}, False)


@pytest.mark.parametrize("name", WORKER_COMMANDS)
def test_fields_of_a_newer_client_are_ignored(name: str) -> None:
    newer = [{**payload, "fromTheFuture": {"a": [1]}} for payload in load("commands")[name]]
    assert [decode(as_event(name, payload)).command for payload in newer] == COMMANDS[name]


def test_fields_of_a_newer_edge_are_ignored() -> None:
    ((batch,), arguments, embedded) = load("relay_batch")
    newer = {**batch, "from_the_future": 1, "events": [[*event, "one more"] for event in batch["events"]]}
    golden = read_batch(load("relay_batch"))
    assert on_the_wire(read_batch([[newer], arguments, embedded])) == on_the_wire(golden)


@pytest.mark.parametrize("events", [None, "packed", []], ids=["as they are", "not readable", "none"])
def test_a_batch_that_is_too_new_still_says_where_it_comes_from(events: object) -> None:
    ((batch,), arguments, embedded) = load("relay_batch")
    newer = {**batch, "v": VERSION + 1} | ({} if events is None else {"events": events})
    read = read_batch([[newer], arguments, embedded])
    assert (read.id, read.edge_id, read.v, read.is_too_new) == (BATCH_ID, "edge-1", VERSION + 1, True)


def test_a_batch_of_this_version_without_events_is_refused() -> None:
    ((batch,), arguments, embedded) = load("relay_batch")
    with pytest.raises(DecodeError):
        read_batch([[{**batch, "events": "packed"}], arguments, embedded])


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(encoded(value))


def entries() -> dict[str, InboxEntry]:
    """Make the entries of the golden file the way a worker makes them."""
    message = load("acks")["send_message"]["message"]
    typing = load("server_events")["typing"][0]
    online = load("server_events")["user_status"][0]
    page = CatchUpPage(
        messages=[PendingMessage(Position(CHAT, 7), raw(message))],
        ahead=[Ahead(CHAT, 7, 1769860800000000)],
    )
    return {
        "done": InboxEntry(
            batch_id=BATCH_ID,
            answers=[
                Answer(f"{EVENT_ID}2", raw(load("acks")["mark_as_read"]), acked_up_to=Position(CHAT, 7)),
                Answer(f"{EVENT_ID}3", failure=Failure.of(ErrorCode.NOT_A_MEMBER, client_id="c-1")),
            ],
        ),
        "emits": InboxEntry(
            emits=[
                Emit(
                    [Target(ALICE, "message_sent"), Target(BOB, "new_message", ack=True)],
                    raw(message),
                    Position(CHAT, 7),
                    answers=f"{EVENT_ID}5",
                ),
                Emit([Target(ALICE, "typing", skip="s-1")], raw(typing)),
                Emit([Target(ALICE, "user_status")], raw(online)),
            ]
        ),
        "postponed": InboxEntry(batch_id=BATCH_ID, retry=ErrorCode.UNAVAILABLE),
        "catch_up_page": InboxEntry(
            batch_id=BATCH_ID, answers=[Answer(f"{EVENT_ID}4", raw(on_the_wire(page)))]
        ),
    }


@pytest.mark.parametrize("name", load("inbox_entries"))
def test_an_inbox_entry_leaves_as_in_the_golden_file(name: str) -> None:
    assert on_the_wire(entries()[name]) == load("inbox_entries")[name]


def test_an_inbox_entry_carries_its_version() -> None:
    assert json.loads(msgspec.json.encode(InboxEntry()))["v"] == 1


def test_the_golden_commands_are_all_there_is() -> None:
    assert set(load("commands")) == set(REGISTRY)


def test_unknown_fields_differ_from_known_ones() -> None:
    assert with_unknown_fields({"a": [{"data": {}}]}) == {
        "a": [{"data": {}, "from_the_future": {"a": [1]}}],
        "from_the_future": {"a": [1]},
    }
