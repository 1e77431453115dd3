"""An export has everything that the chat holds of a user, line by line, in bounded memory."""

import json
import re
import tracemalloc
import urllib.parse
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from functions.export import BATCH, export_lines
from functions.exported import upload
from functions.people import find_person
from infra.settings.base import SettingsError
from infra.store import export as exporting
from infra.store.models import Base
from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import day, deliver
from tests.integration.functions.conftest import ContextFactory
from tests.integration.functions.letters import leave_letters_of_the_backend

READ_BY = {
    "profiles": str(exporting._PROFILE),
    "chats": str(exporting._CHATS),
    "chat_members": str(exporting._CHATS),
    "messages": str(exporting._MESSAGES),
    "devices": str(exporting._DEVICES),
    "reports": str(exporting._REPORTS),
    "notifications": str(exporting._NOTIFICATIONS),
    "dead_letters": str(exporting._UNHANDLED),
}
"""The statement that reads each table."""
LEFT_OUT: dict[str, set[str]] = {
    "profiles": {"username_key", "handled", "refused"},
    "chats": {
        "listed_at",
        "is_behind",
        "sweep_at",
        "swept_seq",
        "last_to_lo",
        "last_to_hi",
        "to_lo",
        "to_hi",
        "numbered_after",
        "change",
        "lo_changed_at",
        "hi_changed_at",
        "lo_unread",
        "hi_unread",
        "handled",
        "refused",
        "system_messages",
        "system_to_lo",
        "system_to_hi",
    },
    "chat_members": {"shown_delivered_seq", "shown_read_seq"},
    "messages": {"to_lo"},
    "devices": {"p256dh", "auth", "endpoint"},
    "notifications": {
        "chat_ids",
        "first_seqs",
        "last_seqs",
        "next_at",
        "tries",
        "claimed_until",
        "sent_to",
        "refused_by",
        "unsent_at",
        "to_replace",
    },
    "dead_letters": {"error"},
}
"""Columns for the chat itself, and what lets others notify the user."""
NOT_EXPORTED = {
    "refused_names",
    "changed_messages",
    "undelivered",
    "archived_chats",
    "archive_holds",
    "job_runs",
    "erasures",
    "outbox",
    "webhook_endpoints",
    "webhook_waits",
}
"""Tables about how far the chat is with something, copies of what other tables have, and refused names."""

Export = Callable[..., list[Any]]

MANY = 40_000
MEMORY = 3_000_000
"""Bytes; the texts of MANY messages take many times as much."""


@pytest.fixture
def two(unswept_bench: WorkerBench) -> Two:
    return Two.friends(unswept_bench)


@pytest.fixture
def export(make_context: ContextFactory) -> Export:
    """Return what exports a user, given by id or name."""

    def export(id_or_name: object, **options: Any) -> list[Any]:
        context = make_context(**options)
        person = find_person(context.engine, str(id_or_name))
        assert person is not None
        lines = list(export_lines(context, person))
        assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
        return [json.loads(line) for line in lines]

    return export


def of(lines: list[Any], kind: str) -> list[Any]:
    return [line for line in lines if line["type"] == kind]


def test_it_begins_with_the_profile_and_the_settings(two: Two, export: Export) -> None:
    two.settings(two.alice, readReceipts=False, messagesFrom="requests")
    two.bench.rows(
        "UPDATE profiles SET display_name = 'Alice', avatar_url = 'https://a', data = '{\"n\":\n1}'"
        " WHERE id = :a",
        a=two.alice.id,
    )
    profile, settings, *_ = export(two.alice.name)
    assert (profile["type"], profile["id"], profile["username"]) == (
        "profile",
        str(two.alice.id),
        two.alice.name,
    )
    assert (profile["name"], profile["avatarUrl"], profile["data"]) == ("Alice", "https://a", {"n": 1})
    assert settings == {
        "type": "settings",
        "messagesFrom": "requests",
        "readReceipts": False,
        "showPresence": "chats",
        "pushTexts": True,
    }


def test_it_has_what_they_wrote_and_received_and_nothing_of_others(two: Two, export: Export) -> None:
    two.send(two.alice, "one\ntwo", clientId="own", data={"a": [1, 2]})
    two.send(two.bob, "reply", replyTo=3)
    carol_id, _ = two.bench.person("carol")
    two.bench.ask(two.bench.send(carol_id, two.bob.name, "not for alice"))
    two.do(two.alice, "send_system_message", userId=str(two.bob.id), text="said")
    messages = of(export(two.alice.id), "message")
    assert [(one["text"], one.get("kind")) for one in sorted(messages, key=lambda one: one["seq"])] == [
        ("hi", None),
        ("ho", None),
        ("one\ntwo", None),
        ("reply", None),
        ("said", "system"),
    ]
    third, fourth = sorted(messages, key=lambda one: one["seq"])[2:4]
    assert (third["clientId"], third["data"], third["senderId"]) == ("own", {"a": [1, 2]}, str(two.alice.id))
    assert (fourth["replyTo"], fourth["recipientId"]) == (3, str(two.alice.id))


def test_it_has_chats_reactions_blocks_reports_and_what_is_cleared(two: Two, export: Export) -> None:
    two.do(two.alice, "react", chatId=two.chat_id, seq=2, emoji="👍", on=True)
    two.do(two.alice, "report", chatId=two.chat_id, seq=2, reason="spam", note="my note")
    two.do(two.bob, "report", chatId=two.chat_id, seq=1, reason="spam", note="bobs note")
    two.do(two.alice, "clear_chat", chatId=two.chat_id, upTo=1)
    two.do(two.alice, "set_chat", chatId=two.chat_id, pinned=True)
    two.block(two.alice)
    lines = export(two.alice.id)
    (chat,) = of(lines, "chat")
    assert (chat["peerUsername"], chat["box"], chat["clearedUpTo"]) == (two.bob.name, "pinned", 1)
    (block,) = of(lines, "block")
    assert block["userId"] == str(two.bob.id)
    (reaction,) = of(lines, "reaction")
    assert (reaction["userId"], reaction["emoji"], reaction["seq"]) == (str(two.alice.id), "👍", 2)
    (report,) = of(lines, "report")
    assert (report["note"], report["messages"][-1]["text"]) == ("my note", "ho")
    assert len(of(lines, "message")) == 2
    assert of(export(two.bob.id), "block") == []


def test_devices_come_without_what_lets_others_notify_them(two: Two, export: Export) -> None:
    for channel, address in (
        ("email", "alice@example.com"),
        ("fcm", "secret-token"),
        ("webhook", "https://example.com/secret-path"),
    ):
        two.do(two.alice, "register_device", channel=channel, address=address)
    lines = export(two.alice.id)
    devices = of(lines, "device")
    assert {device["channel"]: device.get("address") for device in devices} == {
        "email": "alice@example.com",
        "fcm": None,
        "webhook": None,
    }
    assert "secret" not in json.dumps(lines)


def test_devices_come_with_the_zone_and_the_language(two: Two, export: Export) -> None:
    two.do(
        two.alice,
        "register_device",
        channel="email",
        address="alice@example.com",
        timeZone="Europe/Zurich",
        language="de-CH",
    )
    (device,) = of(export(two.alice.id), "device")
    assert (device["timeZone"], device["language"]) == ("Europe/Zurich", "de-CH")


@pytest.mark.parametrize("table", Base.metadata.tables)
def test_each_column_is_exported_or_left_out_on_purpose(table: str) -> None:
    """A new column fails here: add it to its line, or to what is left out."""
    columns = set(Base.metadata.tables[table].columns.keys())
    read = set(re.findall(r"\w+", READ_BY.get(table, "")))
    assert columns - read == (columns if table in NOT_EXPORTED else LEFT_OUT.get(table, set()))


def test_dead_letters_of_the_backend_about_the_user_come_too(two: Two, export: Export) -> None:
    own, others = leave_letters_of_the_backend(two)
    assert {line["payload"] for line in of(export(two.alice.id), "unhandled")} == own
    assert others


def test_archived_messages_come_too_and_those_in_both_places_once(
    two: Two, export: Export, make_context: ContextFactory, s3: Any
) -> None:
    from functions.archive.archiver import archive
    from functions.archive.restore import restore
    from functions.pacer import Pacer

    s3.create_bucket(Bucket="old", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    carol, dave = two.bench.people("carol", "dave")
    two.bench.ask(two.bench.send(carol[0], dave[1], "of others"))
    for chat in two.bench.rows("SELECT id FROM chats"):
        deliver(two.bench, str(chat.id))
    two.bench.rows("UPDATE messages SET created_at = created_at - interval '100 days'")
    context = make_context(archive_bucket="old")
    archive(context, Pacer(600), False)
    two.send(two.alice, "new")
    messages = of(export(two.alice.id, archive_bucket="old"), "message")
    assert [(one["text"], one.get("archived", False)) for one in messages] == [
        ("new", False),
        ("hi", True),
        ("ho", True),
    ]
    restore(context, Pacer(600), day(101), day(99))
    messages = of(export(two.alice.id, archive_bucket="old"), "message")
    assert Counter(one["text"] for one in messages) == {"new": 1, "hi": 1, "ho": 1}


def test_memory_is_bounded_however_many_messages_there_are(two: Two, make_context: ContextFactory) -> None:
    two.bench.rows(
        "INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)"
        " SELECT :chat, n, gen_random_uuid(), :a, :b, repeat('x', 500), now()"
        " FROM generate_series(3, CAST(:many AS int) + 2) n",
        chat=two.chat_id,
        a=two.alice.id,
        b=two.bob.id,
        many=MANY,
    )
    context = make_context()
    person = find_person(context.engine, str(two.alice.id))
    assert person is not None
    lines = export_lines(context, person)
    for _ in range(3 * BATCH):  # what is loaded on first use
        next(lines)
    tracemalloc.start()
    try:
        size = sum(map(len, lines))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 500 * (MANY - 3 * BATCH) > 5 * MEMORY
    assert peak < MEMORY


def test_a_deleted_user_can_be_exported_by_id(two: Two, export: Export) -> None:
    two.bench.rows("DELETE FROM profiles WHERE id = :a", a=two.alice.id)
    lines = export(two.alice.id)
    assert lines[0]["deletedAt"]
    assert len(of(lines, "message")) == 2


def test_nobody_is_found_who_is_not_known(two: Two, make_context: ContextFactory) -> None:
    engine = make_context().engine
    assert find_person(engine, "nobody-of-this-name") is None
    assert find_person(engine, "01a22800-3004-7354-92ae-1cc73511fe6e") is None
    assert find_person(engine, two.alice.name.upper()) == find_person(engine, str(two.alice.id))


def test_an_id_is_never_taken_for_the_name_of_another(two: Two, make_context: ContextFactory) -> None:
    two.bench.rows("UPDATE profiles SET username = :name WHERE id = :b", name=str(two.alice.id), b=two.bob.id)
    found = find_person(make_context().engine, str(two.alice.id))
    assert found is not None
    assert found.id == two.alice.id


def test_an_export_can_be_fetched_from_s3_by_a_link(two: Two, make_context: ContextFactory, s3: Any) -> None:
    s3.create_bucket(Bucket="exports", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    context = make_context(export_bucket="exports", export_link_s=600)
    person = find_person(context.engine, two.alice.name)
    assert person is not None
    found = upload(context.settings, person.id, export_lines(context, person))
    body = s3.get_object(Bucket="exports", Key=found.key)["Body"].read()
    assert body == b"".join(export_lines(context, person))
    assert found.key.startswith(f"exports/{two.alice.id}/")
    link = urllib.parse.urlsplit(found.link)
    assert link.path.endswith(found.key)
    asked = urllib.parse.parse_qs(link.query)
    assert (asked["X-Amz-Algorithm"], asked["X-Amz-Expires"]) == (["AWS4-HMAC-SHA256"], ["600"])


def test_nothing_is_uploaded_if_the_export_fails(two: Two, make_context: ContextFactory, s3: Any) -> None:
    s3.create_bucket(Bucket="exports", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    context = make_context(export_bucket="exports")

    def lines() -> Any:
        yield b"{}\n"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        upload(context.settings, two.alice.id, lines())
    assert "Contents" not in s3.list_objects_v2(Bucket="exports")
    with pytest.raises(SettingsError):
        upload(make_context().settings, two.alice.id, lines())
