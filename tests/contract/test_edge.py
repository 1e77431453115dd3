"""The edge's half of the wire, against the same golden files as the worker's."""

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from kombu.serialization import dumps

from infra.wire.batch import Batch, Event
from infra.wire.commands import (
    BroadcastPresence,
    CatchUp,
    CloseReport,
    ConfirmDelivery,
    DisconnectUser,
    EnsureProfile,
    EraseUser,
    ExportUser,
    GetReport,
    GetUser,
    ListReports,
    PutUser,
    RefreshToken,
    RemoveMessage,
    ReviseMessage,
    SendSystemMessage,
)
from infra.wire.errors import ErrorCode, Failure, Rejection
from infra.wire.inbox import VERSION, Ahead, CatchUpPage, InboxEntry, Position, Target, decode_entry
from infra.wire.registry import CLIENT_COMMANDS, INTERNAL_COMMANDS, REFRESH_TOKEN
from infra.wire.serializer import CONTENT_TYPE, SERIALIZER, register_serializer
from socket_edge.chat.client_event import read_event
from tests.contract.golden import (
    ALICE,
    BATCH_ID,
    BOB,
    CHAT,
    EVENT_ID,
    encoded,
    load,
    on_the_wire,
    with_unknown_fields,
)

PAYLOAD_BYTES = 65_536


def read(entry: object) -> InboxEntry:
    return decode_entry(encoded(entry))


def test_a_batch_leaves_as_in_the_golden_file() -> None:
    register_serializer()
    ((golden,), arguments, embedded) = load("relay_batch")
    batch = Batch(
        id=BATCH_ID,
        edge_id="edge-1",
        events=[
            Event(event_id, name, user_id, socket_id, msgspec.Raw(encoded(payload)), expires_ms, trace)
            for event_id, name, user_id, socket_id, payload, expires_ms, trace in golden["events"]
        ],
    )
    message = ((batch,), arguments, embedded)
    content_type, encoding, body = dumps(message, SERIALIZER)  # type: ignore[no-untyped-call]
    assert (content_type, encoding) == (CONTENT_TYPE, "utf-8")
    assert json.loads(body) == load("relay_batch")


def test_a_batch_carries_its_version() -> None:
    assert on_the_wire(Batch(id="b", edge_id="e", events=[]))["v"] == 1


@pytest.mark.parametrize("name", CLIENT_COMMANDS)
def test_a_clients_payload_passes_untouched(name: str) -> None:
    for payload in load("commands")[name]:
        text = json.dumps(payload, indent=1, ensure_ascii=False)
        event = read_event(f'["{name}", {text}]', PAYLOAD_BYTES)
        assert (event.name, event.payload.decode()) == (name, text)


@pytest.mark.parametrize("name", INTERNAL_COMMANDS)
def test_a_client_cannot_send_what_only_edges_send(name: str) -> None:
    for payload in load("commands")[name]:
        with pytest.raises(Rejection) as rejection:
            read_event(json.dumps([name, payload]), PAYLOAD_BYTES)
        assert rejection.value.code is ErrorCode.UNKNOWN_EVENT


def test_the_edges_own_requests_leave_as_in_the_golden_file() -> None:
    own: dict[str, list[msgspec.Struct]] = {
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
            ReviseMessage(chat_id=UUID(CHAT), seq=7, text="Hello", data=msgspec.Raw(b'{"masked":true}')),
            ReviseMessage(chat_id=UUID(CHAT), seq=7, text="Hello"),
        ],
        "remove_message": [RemoveMessage(chat_id=UUID(CHAT), seq=7)],
        "disconnect_user": [DisconnectUser(user_id=UUID(BOB))],
        "erase_user": [EraseUser(user_id=UUID(BOB), mode="delete")],
        "export_user": [ExportUser(user_id=UUID(BOB), cursor="abc")],
        "list_reports": [ListReports(with_closed=True, cursor="abc", limit=20)],
        "get_report": [GetReport(report_id=UUID(CHAT))],
        "close_report": [CloseReport(report_id=UUID(CHAT))],
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
    assert {name: [on_the_wire(one) for one in some] for name, some in own.items()} == {
        name: load("commands")[name] for name in INTERNAL_COMMANDS
    }


def test_the_edge_reads_a_token_from_its_golden_payload() -> None:
    (payload,) = load("commands")[REFRESH_TOKEN]
    assert msgspec.json.decode(encoded(payload), type=RefreshToken).token == "eyJ.abc.def"


def test_the_edge_reads_answers() -> None:
    entry = read(load("inbox_entries")["done"])
    good, bad = entry.answers
    assert (entry.batch_id, entry.retry, entry.v) == (BATCH_ID, None, 1)
    assert json.loads(bytes(good.data)) == load("acks")["mark_as_read"]
    assert (good.acked_up_to, bad.acked_up_to) == (Position(CHAT, 7), None)
    assert bad.failure == Failure.of(ErrorCode.NOT_A_MEMBER, client_id="c-1")


def test_the_edge_reads_emits_and_to_which_sockets_they_go() -> None:
    new, typing, status = read(load("inbox_entries")["emits"]).emits
    assert new.to == [Target(ALICE, "message_sent"), Target(BOB, "new_message", ack=True)]
    assert (new.position, new.answers) == (Position(CHAT, 7), f"{EVENT_ID}5")
    assert typing.to == [Target(ALICE, "typing", skip="s-1")]
    assert (status.to, status.position) == ([Target(ALICE, "user_status")], None)


def test_the_edge_reads_emits_that_follow_line_by_line() -> None:
    head, emits = load("inbox_entries")["done"], load("inbox_entries")["emits"]["emits"]
    lines = b"\n".join(encoded(part) for part in (head, *emits))
    entry = decode_entry(lines)
    assert entry.answers == read(head).answers
    assert entry.emits == read(load("inbox_entries")["emits"]).emits


def test_the_edge_reads_that_a_batch_is_to_be_sent_again() -> None:
    entry = read(load("inbox_entries")["postponed"])
    assert (entry.batch_id, entry.retry) == (BATCH_ID, ErrorCode.UNAVAILABLE)


def test_the_edge_reads_a_page_of_undelivered_messages() -> None:
    (answer,) = read(load("inbox_entries")["catch_up_page"]).answers
    page = msgspec.json.decode(answer.data, type=CatchUpPage)
    assert [message.position for message in page.messages] == [Position(CHAT, 7)]
    assert (page.ahead, page.next, page.chats_after) == ([Ahead(CHAT, 7, 1769860800000000)], None, None)


def test_the_edge_reads_a_page_of_a_worker_of_the_previous_release() -> None:
    page = msgspec.json.decode(encoded({"messages": [], "next": {CHAT: 7}}), type=CatchUpPage)
    assert (page.next, page.ahead) == ({CHAT: 7}, None)


@pytest.mark.parametrize("name", load("inbox_entries"))
@pytest.mark.parametrize(
    "changed", [{}, {"answers": "packed", "emits": {}}], ids=["as it is", "not readable"]
)
def test_an_entry_that_is_too_new_only_asks_to_send_its_batch_again(
    name: str, changed: dict[str, Any]
) -> None:
    golden = load("inbox_entries")[name]
    newer = {**golden, **changed, "v": VERSION + 1}
    lines = b"\n".join((encoded(newer), b"a line of the future"))
    entry = decode_entry(lines)
    assert entry.is_too_new
    assert (entry.batch_id, entry.retry, entry.v) == (golden["batch_id"], ErrorCode.UNAVAILABLE, VERSION + 1)
    assert [*entry.all_answers(), *entry.emits] == []


def test_an_entry_of_this_version_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        read({**load("inbox_entries")["done"], "answers": "packed"})


@pytest.mark.parametrize("name", load("inbox_entries"))
def test_fields_of_a_newer_worker_are_ignored(name: str) -> None:
    golden = load("inbox_entries")[name]
    assert on_the_wire(read(with_unknown_fields(golden))) == on_the_wire(read(golden))
