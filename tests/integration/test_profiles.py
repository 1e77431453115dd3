"""Profiles are created before users act, for every command that carries the username of a token."""

import json
import uuid
from typing import Any

import pytest

from infra.wire.errors import ErrorCode
from infra.wire.registry import WORKER_COMMANDS
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory
from workers import deleted_users

ENSURING = [name for name, command in WORKER_COMMANDS.items() if command.ensures_profile]


def username_of(bench: WorkerBench, user_id: uuid.UUID) -> str | None:
    rows = bench.rows("SELECT username FROM profiles WHERE id = :id", id=user_id)
    return rows[0].username if rows else None


@pytest.fixture
def newcomer(bench: WorkerBench) -> tuple[uuid.UUID, str]:
    return uuid.uuid4(), f"new_{bench.edge_id}"


@pytest.mark.parametrize("name", ENSURING)
def test_a_newcomer_gets_the_profile_of_their_token(
    bench: WorkerBench, newcomer: tuple[uuid.UUID, str], name: str
) -> None:
    user_id, username = newcomer
    event = bench.event(user_id, name, {"username": username})
    assert bench.ask(event).answers[event.id].failure is None
    assert username_of(bench, user_id) == username


@pytest.mark.parametrize("name", ENSURING)
@pytest.mark.parametrize("payload", [{}, {"username": ""}, {"username": "\u202e"}])
def test_without_a_proper_name_there_is_no_profile(
    bench: WorkerBench, name: str, payload: dict[str, Any]
) -> None:
    user_id = uuid.uuid4()
    event = bench.event(user_id, name, payload)
    assert bench.ask(event).failure(event).code is ErrorCode.PROFILE_MISSING
    assert username_of(bench, user_id) is None


@pytest.mark.parametrize("name", ENSURING)
def test_a_name_that_is_taken_is_left_to_its_owner(bench: WorkerBench, name: str) -> None:
    _, taken = bench.person("bob")
    user_id = uuid.uuid4()
    event = bench.event(user_id, name, {"username": taken.upper()})
    assert bench.ask(event).failure(event).code is ErrorCode.PROFILE_MISSING
    assert username_of(bench, user_id) is None


def test_where_profiles_come_from_elsewhere_none_is_created(make_bench: BenchFactory) -> None:
    bench = make_bench(provision_profiles=False)
    known, _ = bench.person("bob")
    stranger = uuid.uuid4()
    events = [bench.event(user_id, "catch_up", {"username": "somebody"}) for user_id in (known, stranger)]
    reply = bench.ask(*events)
    assert reply.ack(events[0])["messages"] == []
    assert reply.failure(events[1]).code is ErrorCode.PROFILE_MISSING


def test_a_profile_is_there_for_a_send_of_the_same_batch(
    bench: WorkerBench, newcomer: tuple[uuid.UUID, str]
) -> None:
    user_id, username = newcomer
    _, bob = bench.person("bob")
    send = bench.send(user_id, bob, "hello")
    reply = bench.ask(send, bench.event(user_id, "introduce", {"username": username}))
    assert reply.ack(send)["message"]["senderUsername"] == username


def test_a_user_without_a_profile_costs_the_others_nothing(bench: WorkerBench) -> None:
    bob, bobs_name = bench.person("bob")
    good = bench.event(bob, "catch_up", {"username": bobs_name})
    bad = bench.event(uuid.uuid4(), "catch_up", {})
    reply = bench.ask(bad, good)
    assert reply.ack(good)["messages"] == []
    assert reply.failure(bad).code is ErrorCode.PROFILE_MISSING


NOW = 1_790_000_000.0


def ensure(
    bench: WorkerBench, user_id: uuid.UUID, username: str, issued_at: float | None = NOW
) -> str | None:
    """Return the name that the user has once a token with this name has been presented."""
    event = bench.event(user_id, "introduce", {"username": username, "issuedAt": issued_at})
    bench.ask(event)
    return username_of(bench, user_id)


def test_the_name_of_the_newest_token_counts(bench: WorkerBench, newcomer: tuple[uuid.UUID, str]) -> None:
    user_id, username = newcomer
    assert ensure(bench, user_id, username) == username
    assert ensure(bench, user_id, f"{username}_2", NOW + 10) == f"{username}_2"
    assert ensure(bench, user_id, username, NOW + 5) == f"{username}_2"
    assert ensure(bench, user_id, username, None) == f"{username}_2"
    assert ensure(bench, user_id, username.upper(), NOW + 20) == username.upper()


def test_a_name_changed_in_the_second_of_the_last_token_counts(
    bench: WorkerBench, newcomer: tuple[uuid.UUID, str]
) -> None:
    user_id, username = newcomer
    assert ensure(bench, user_id, username) == username
    assert ensure(bench, user_id, f"{username}_2") == f"{username}_2"


def test_of_two_tokens_in_a_batch_the_newer_one_counts(
    bench: WorkerBench, newcomer: tuple[uuid.UUID, str]
) -> None:
    user_id, username = newcomer
    tokens = [{"username": f"{username}_{n}", "issuedAt": NOW + n} for n in (1, 3, 2)]
    bench.ask(*(bench.event(user_id, "introduce", token) for token in tokens))
    assert username_of(bench, user_id) == f"{username}_3"


@pytest.mark.parametrize("name", ["taken", "\u202e", "", "Deleted user"])
def test_a_user_whose_new_name_is_refused_keeps_the_old_one(
    bench: WorkerBench, newcomer: tuple[uuid.UUID, str], name: str
) -> None:
    user_id, username = newcomer
    _, bobs_name = bench.person("bob")
    ensure(bench, user_id, username)
    assert ensure(bench, user_id, bobs_name.upper() if name == "taken" else name, NOW + 10) == username


def test_a_name_that_is_free_again_can_be_taken(bench: WorkerBench, newcomer: tuple[uuid.UUID, str]) -> None:
    (first, username), second = newcomer, uuid.uuid4()
    ensure(bench, first, username)
    assert ensure(bench, second, username) is None
    ensure(bench, first, f"{username}_2", NOW + 10)
    assert ensure(bench, second, username) == username


def test_peers_find_a_renamed_user_by_the_new_name_only(
    bench: WorkerBench, newcomer: tuple[uuid.UUID, str]
) -> None:
    user_id, username = newcomer
    bob, _ = bench.person("bob")
    ensure(bench, user_id, username)
    ensure(bench, user_id, f"{username}_2", NOW + 10)
    old, new = (bench.send(bob, name, "hello") for name in (username, f"{username}_2"))
    reply = bench.ask(old, new)
    assert reply.failure(old).code is ErrorCode.USER_NOT_FOUND
    assert reply.ack(new)["message"]["recipientUsername"] == f"{username}_2"


def test_where_profiles_come_from_elsewhere_no_token_renames(make_bench: BenchFactory) -> None:
    bench = make_bench(provision_profiles=False)
    bob, bobs_name = bench.person("bob")
    assert ensure(bench, bob, f"{bobs_name}_2", NOW * 2) == bobs_name


DELETED = "DELETE FROM profiles WHERE id = :id"


@pytest.fixture
def noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers notice deletions with the next batch."""
    monkeypatch.setattr(deleted_users, "_REFRESH_S", 0)


@pytest.fixture
def deleted(noticed_at_once: None, bench: WorkerBench) -> tuple[uuid.UUID, str, uuid.UUID, str]:
    """Have alice and bob chat, then delete alice. Return both, with the names that they had."""
    (alice, alices_name), (bob, bobs_name) = bench.people("alice", "bob")
    first = bench.send(alice, bobs_name, "one")
    bench.ask(first).ack(first)
    bench.rows(DELETED, id=alice)
    return alice, alices_name, bob, bobs_name


@pytest.mark.parametrize("name", ENSURING)
def test_the_token_of_a_deleted_user_brings_nobody_back(
    bench: WorkerBench, deleted: tuple[uuid.UUID, str, uuid.UUID, str], name: str
) -> None:
    alice, alices_name, _, _ = deleted
    event = bench.event(alice, name, {"username": alices_name, "issuedAt": NOW * 2})
    assert bench.ask(event).failure(event).code is ErrorCode.PROFILE_MISSING
    assert username_of(bench, alice) == "Deleted user"


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("send_message", {"username": "bob", "text": "two"}),
        ("join_chat", {"username": "bob"}),
        ("typing", {"username": "bob", "isTyping": True}),
        ("register_device", {"channel": "fcm", "address": "x" * 40}),
        ("list_chats", {}),
        ("get_messages", {"chatId": "chat"}),
        ("sync", {"cursors": {"chat": 0}}),
        ("mark_as_read", {"chatId": "chat", "upTo": 1}),
        ("confirm_delivery", {"chatId": "chat", "spans": [[1, 1]]}),
    ],
)
def test_whatever_a_deleted_user_does_is_refused_and_leaves_no_dead_letter(
    bench: WorkerBench, deleted: tuple[uuid.UUID, str, uuid.UUID, str], name: str, payload: dict[str, Any]
) -> None:
    alice, _, _, bobs_name = deleted
    (chat,) = bench.rows("SELECT id FROM chats WHERE :id IN (user_lo, user_hi)", id=alice)
    known = {'"bob"': f'"{bobs_name}"', '"chat"': f'"{chat.id}"'}
    text = json.dumps(payload)
    for placeholder, value in known.items():
        text = text.replace(placeholder, value)
    event = bench.event(alice, name, json.loads(text))
    assert bench.ask(event).failure(event).code is ErrorCode.PROFILE_MISSING
    assert bench.rows("SELECT FROM dead_letters WHERE user_id = :id", id=alice) == []


def test_nothing_is_read_as_a_user_who_was_deleted_long_ago(
    bench: WorkerBench, deleted: tuple[uuid.UUID, str, uuid.UUID, str]
) -> None:
    # By then no token of theirs is valid, but the backend can still name them.
    alice, _, bob, _ = deleted
    bench.rows("UPDATE profiles SET deleted_at = now() - interval '1 year' WHERE id = :id", id=alice)
    (chat,) = bench.rows("SELECT id FROM chats WHERE :id IN (user_lo, user_hi)", id=alice)
    for name, payload in (("list_chats", {}), ("get_messages", {"chatId": str(chat.id)})):
        refused, done = (bench.event(user, name, payload) for user in (alice, bob))
        reply = bench.ask(refused, done)
        assert reply.failure(refused).code is ErrorCode.PROFILE_MISSING
        assert reply.ack(done)["success"]


def test_what_others_send_in_the_same_batch_is_done(
    bench: WorkerBench, deleted: tuple[uuid.UUID, str, uuid.UUID, str]
) -> None:
    alice, _, bob, _ = deleted
    refused, done = bench.event(alice, "list_chats", {}), bench.event(bob, "list_chats", {})
    reply = bench.ask(refused, done)
    assert reply.failure(refused).code is ErrorCode.PROFILE_MISSING
    assert reply.ack(done)["success"]


def test_peers_of_a_deleted_user_keep_the_chat(
    bench: WorkerBench, deleted: tuple[uuid.UUID, str, uuid.UUID, str]
) -> None:
    _, alices_name, bob, _ = deleted
    listed = bench.event(bob, "list_chats", {})
    (chat,) = bench.ask(listed).ack(listed)["chats"]
    assert (chat["peer"]["username"], chat["peer"]["lastSeen"]) == ("Deleted user", None)
    page = bench.event(bob, "get_messages", {"chatId": chat["chatId"]})
    (message,) = bench.ask(page).ack(page)["messages"]
    assert (message["text"], message["senderUsername"]) == ("one", "Deleted user")
    for username in (alices_name, "Deleted user"):
        send = bench.send(bob, username, "are you there?")
        assert bench.ask(send).failure(send).code is ErrorCode.USER_NOT_FOUND


def test_nobody_hears_that_a_deleted_user_is_online(
    bench: WorkerBench, deleted: tuple[uuid.UUID, str, uuid.UUID, str]
) -> None:
    alice, _, bob, _ = deleted
    bench.connect(bob)
    (carol, _) = bench.person("carol")
    for user in (alice, carol):
        bench.connect(user)
    reply = bench.ask(bench.event(alice, "announce", {}))
    assert reply.emits == []
    assert bench.rows("SELECT last_seen_at FROM profiles WHERE id = :id", id=alice)[0].last_seen_at is None


def test_the_name_of_a_deleted_user_is_free_and_a_revived_user_is_themselves(
    bench: WorkerBench, deleted: tuple[uuid.UUID, str, uuid.UUID, str]
) -> None:
    alice, alices_name, bob, _ = deleted
    assert ensure(bench, uuid.uuid4(), alices_name) == alices_name
    bench.rows("SELECT put_profile(:id, :name)", id=alice, name=f"{alices_name}_2")
    send = bench.send(bob, f"{alices_name}_2", "welcome back")
    assert bench.ask(send).ack(send)["message"]["seq"] == 2
