"""The app's own backend gives users their profiles and names."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from infra.wire.server_api import NOBODY
from tests.conftest import Name
from tests.harness.waiting import eventually
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory
from workers.requests import HANDLED

BACKEND = uuid.UUID(NOBODY)


def putting(bench: WorkerBench, user_id: uuid.UUID, username: str, **more: Any) -> Event:
    return bench.event(BACKEND, "put_user", {"userId": str(user_id), "username": username, **more})


def put(bench: WorkerBench, user_id: uuid.UUID, username: str, **more: Any) -> Any:
    event = putting(bench, user_id, username, **more)
    return bench.ask(event).ack(event)["user"]


def getting(bench: WorkerBench, user_id: uuid.UUID) -> Event:
    return bench.event(BACKEND, "get_user", {"userId": str(user_id)})


def code_of(bench: WorkerBench, event: Event) -> ErrorCode:
    return bench.ask(event).failure(event).code


def test_a_user_gets_a_profile_and_can_chat(make_bench: BenchFactory, name: Name) -> None:
    bench = make_bench(provision_profiles=False)
    alice, alices_name, (bob, _) = uuid.uuid4(), name("alice"), bench.person("bob")
    event = putting(bench, alice, alices_name)
    user = bench.ask(event).ack(event)["user"]
    assert (user["userId"], user["username"], user["lastSeen"]) == (str(alice), alices_name, None)
    sent = bench.send(bob, alices_name, "welcome")
    assert bench.ask(sent).ack(sent)["message"]["recipientId"] == str(alice)
    read = getting(bench, alice)
    assert bench.ask(read).ack(read)["user"] == user


def test_putting_a_user_again_changes_nothing_and_another_name_renames(
    bench: WorkerBench, name: Name
) -> None:
    alice, first, second = uuid.uuid4(), name("alice"), name("alicia")
    once = putting(bench, alice, first)
    user = bench.ask(once).ack(once)["user"]
    again = putting(bench, alice, first)
    assert bench.ask(again).ack(again)["user"] == user
    renamed = putting(bench, alice, second)
    assert bench.ask(renamed).ack(renamed)["user"] == {**user, "username": second}


def test_a_name_in_another_spelling_is_the_users_own(bench: WorkerBench, name: Name) -> None:
    alice, alices_name = uuid.uuid4(), name("alice")
    bench.ask(putting(bench, alice, alices_name))
    event = putting(bench, alice, alices_name.upper())
    assert bench.ask(event).ack(event)["user"]["username"] == alices_name.upper()


def test_a_name_that_looks_like_somebody_elses_is_taken(bench: WorkerBench, name: Name) -> None:
    alice, bob = uuid.uuid4(), uuid.uuid4()
    alices_name, bobs_name = name("alice"), name("bob")
    bench.ask(putting(bench, alice, alices_name), putting(bench, bob, bobs_name))
    assert code_of(bench, putting(bench, bob, alices_name.upper())) is ErrorCode.USERNAME_TAKEN
    assert code_of(bench, putting(bench, uuid.uuid4(), alices_name)) is ErrorCode.USERNAME_TAKEN
    read = getting(bench, bob)
    assert bench.ask(read).ack(read)["user"]["username"] == bobs_name


def test_of_two_in_one_batch_the_first_gets_the_name(bench: WorkerBench, name: Name) -> None:
    alices_name = name("alice")
    first, second = (putting(bench, uuid.uuid4(), alices_name) for _ in range(2))
    reply = bench.ask(first, second)
    assert reply.ack(first)["user"]["username"] == alices_name
    assert reply.failure(second).code is ErrorCode.USERNAME_TAKEN


def test_of_many_at_the_same_time_one_gets_the_name(make_bench: BenchFactory, name: Name) -> None:
    alices_name, benches = name("alice"), [make_bench() for _ in range(4)]
    events = [putting(bench, uuid.uuid4(), alices_name) for bench in benches]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda pair: pair[0].ask(pair[1]), zip(benches, events, strict=True)))
    failures = [reply.answers[event.id].failure for reply, event in zip(replies, events, strict=True)]
    assert sorted(failure.code if failure else "ok" for failure in failures) == [
        "ok",
        *["username_taken"] * 3,
    ]


def test_a_batch_that_waits_for_a_user_holds_up_no_user_behind_them(bench: WorkerBench, name: Name) -> None:
    """So two batches with the same users never wait for each other."""
    first, last = sorted(uuid.uuid4() for _ in range(2))
    names = {first: name("alice"), last: name("bob")}
    events, again = ([putting(bench, user_id, names[user_id]) for user_id in (last, first)] for _ in range(2))
    bench.ask(*events)
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%profiles%'"
    with ThreadPoolExecutor(1) as thread:
        with bench.engine.begin() as holder:
            holder.execute(text("SELECT FROM profiles WHERE id = :id FOR UPDATE"), {"id": first})
            reply = thread.submit(bench.ask, *again)
            eventually(lambda: bool(bench.rows(waits)), "the batch waits for the first user")
            bench.rows("SELECT 1 FROM profiles WHERE id = :id FOR UPDATE NOWAIT", id=last)
        assert all(reply.result().ack(event)["success"] for event in again)


@pytest.mark.parametrize("username", ["Deleted user", " ", "x" * 65, "a\u202eb", "\0"])
def test_a_name_that_nobody_may_have_is_refused(bench: WorkerBench, username: str) -> None:
    assert code_of(bench, putting(bench, uuid.uuid4(), username)) is ErrorCode.INVALID_PAYLOAD


def test_a_deleted_user_stays_deleted(bench: WorkerBench, name: Name) -> None:
    alice, _ = bench.person("alice")
    bench.rows("DELETE FROM profiles WHERE id = :id", id=alice)
    assert code_of(bench, putting(bench, alice, name("alice"))) is ErrorCode.USER_NOT_FOUND
    assert code_of(bench, getting(bench, alice)) is ErrorCode.USER_NOT_FOUND


def test_who_has_no_profile_is_not_found(bench: WorkerBench) -> None:
    assert code_of(bench, getting(bench, uuid.uuid4())) is ErrorCode.USER_NOT_FOUND


def test_a_request_that_comes_again_undoes_no_later_one(bench: WorkerBench, name: Name) -> None:
    alice, bob, first, second = uuid.uuid4(), uuid.uuid4(), name("alice"), name("alicia")
    made, same, renamed = (putting(bench, alice, given) for given in (first, first, second))
    for event in (made, same, renamed):
        user = bench.ask(event).ack(event)["user"]
    assert user["username"] == second
    again = bench.ask(made, same, renamed)
    assert [again.ack(event)["user"] for event in (made, same, renamed)] == [user] * 3
    # Somebody else may have the name by now.
    taking = putting(bench, bob, first)
    bench.ask(taking).ack(taking)
    assert bench.ask(made).ack(made)["user"] == user


def test_a_new_request_counts_however_many_came_before(bench: WorkerBench, name: Name) -> None:
    alice, names = uuid.uuid4(), (name("alice"), name("alicia"))
    events = [putting(bench, alice, given) for given in names * HANDLED]
    reply = bench.ask(*events)
    assert [reply.ack(event)["user"]["username"] for event in events] == [*names] * HANDLED
    ((kept,),) = bench.rows("SELECT handled FROM profiles WHERE id = :id", id=alice)
    assert [str(one) for one in kept] == [event.id for event in events[-HANDLED:]]


DESCRIBED: dict[str, Any] = {
    "name": "Alice Ångström \N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}",
    "avatarUrl": "https://example.com/a.png?size=64",
    "data": {"team": "red", "n": 1.50},
}


def described(shown: Any) -> dict[str, Any]:
    return {field: shown[field] for field in DESCRIBED if field in shown}


def test_a_user_has_a_name_an_avatar_and_data_that_peers_see(bench: WorkerBench, name: Name) -> None:
    alice, (bob, _) = uuid.uuid4(), bench.person("bob")
    assert described(put(bench, alice, name("alice"), **DESCRIBED)) == DESCRIBED
    read = getting(bench, alice)
    assert described(bench.ask(read).ack(read)["user"]) == DESCRIBED
    joined = bench.event(bob, "join_chat", {"userId": str(alice)})
    assert described(bench.ask(joined).ack(joined)["peer"]) == DESCRIBED
    for user, shown in ((bob, DESCRIBED), (alice, {})):
        listed = bench.event(user, "list_chats", {})
        assert described(bench.ask(listed).ack(listed)["chats"][0]["peer"]) == shown
    bench.ask(bench.event(bob, "block_user", {"userId": str(alice)}))
    blocked = bench.event(bob, "list_blocked", {})
    assert described(bench.ask(blocked).ack(blocked)["users"][0]) == DESCRIBED


def test_data_comes_back_as_it_was_written(bench: WorkerBench, name: Name) -> None:
    event = putting(bench, uuid.uuid4(), name("alice"))
    written = bytes(event.payload)[:-1] + b', "data": {"b": 1.50,  "a": []}}'
    event = msgspec.structs.replace(event, payload=msgspec.Raw(written))
    answer = bench.ask(event).answers[event.id]
    assert b'"data":{"b": 1.50,  "a": []}' in bytes(answer.data)


def test_what_is_left_out_stays_and_null_removes_it(bench: WorkerBench, name: Name) -> None:
    alice, alices_name = uuid.uuid4(), name("alice")
    put(bench, alice, alices_name, **DESCRIBED)
    left = dict(DESCRIBED)
    assert described(put(bench, alice, name("alicia"))) == left
    for field in DESCRIBED:
        del left[field]
        assert described(put(bench, alice, alices_name, **{field: None})) == left


def test_a_request_that_comes_again_brings_no_old_avatar_back(bench: WorkerBench, name: Name) -> None:
    alice, alices_name = uuid.uuid4(), name("alice")
    old, new = (putting(bench, alice, alices_name, avatarUrl=f"https://example.com/{n}") for n in (1, 2))
    bench.ask(old, new)
    again = bench.ask(old)
    assert again.ack(old)["user"]["avatarUrl"] == "https://example.com/2"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", " \u200b\u2800"),
        ("name", "x" * 101),
        ("name", "two\nlines"),
        ("name", "line\n"),
        ("name", "a\u0000b"),
        ("name", "a\u202eb"),
        ("name", "a\u2028b"),
        ("name", 1),
        ("avatarUrl", ""),
        ("avatarUrl", "http://example.com/a.png"),
        ("avatarUrl", "javascript:alert(1)"),
        ("avatarUrl", "https://example.com/a b"),
        ("avatarUrl", "https://example.com/a\n"),
        ("avatarUrl", "https://example.com/\u00e9"),
        ("avatarUrl", "https://example.com/".ljust(2_001, "x")),
        ("data", []),
        ("data", "text"),
        ("data", {"a": "x" * 4_096}),
    ],
)
def test_what_no_profile_may_have_is_refused_and_changes_nothing(
    bench: WorkerBench, name: Name, field: str, value: object
) -> None:
    alice, first = uuid.uuid4(), name("alice")
    put(bench, alice, first, **DESCRIBED)
    assert (
        code_of(bench, putting(bench, alice, name("alicia"), **{field: value})) is ErrorCode.INVALID_PAYLOAD
    )
    read = getting(bench, alice)
    user = bench.ask(read).ack(read)["user"]
    assert (user["username"], described(user)) == (first, DESCRIBED)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 100),
        ("name", "علی\u200cرضا"),
        ("avatarUrl", "https://example.com/".ljust(2_000, "x")),
        ("data", {"a": "x" * 4_087}),
    ],
)
def test_the_longest_that_a_profile_may_have_is_kept(
    bench: WorkerBench, name: Name, field: str, value: object
) -> None:
    assert put(bench, uuid.uuid4(), name("alice"), **{field: value})[field] == value


def test_a_deleted_user_leaves_neither_name_nor_avatar_nor_data(bench: WorkerBench, name: Name) -> None:
    alice, (bob, _) = uuid.uuid4(), bench.person("bob")
    put(bench, alice, name("alice"), **DESCRIBED)
    bench.ask(bench.event(bob, "join_chat", {"userId": str(alice)}))
    bench.rows("DELETE FROM profiles WHERE id = :id", id=alice)
    assert bench.rows("SELECT display_name, avatar_url, data FROM profiles WHERE id = :id", id=alice) == [
        (None, None, None)
    ]
    listed = bench.event(bob, "list_chats", {})
    assert described(bench.ask(listed).ack(listed)["chats"][0]["peer"]) == {}


def test_who_has_lost_their_username_is_shown_as_nobody(bench: WorkerBench, name: Name) -> None:
    alice, (bob, _) = uuid.uuid4(), bench.person("bob")
    put(bench, alice, name("alice"), **DESCRIBED)
    bench.ask(bench.event(bob, "join_chat", {"userId": str(alice)}))
    bench.rows("SELECT take_name(:id)", id=alice)
    listed = bench.event(bob, "list_chats", {})
    assert described(bench.ask(listed).ack(listed)["chats"][0]["peer"]) == {}
    bench.rows("SELECT put_profile(:id, :name)", id=alice, name=name("alicia"))
    assert described(bench.ask(listed).ack(listed)["chats"][0]["peer"]) == DESCRIBED


def test_a_refused_name_stays_refused_if_the_request_comes_again(bench: WorkerBench, name: Name) -> None:
    (alice, alices_name), (bob, bobs_name) = bench.person("alice"), bench.person("bob")
    refused = putting(bench, alice, bobs_name, name="Bob")
    assert code_of(bench, refused) is ErrorCode.USERNAME_TAKEN
    put(bench, bob, name("robert"))
    assert code_of(bench, refused) is ErrorCode.USERNAME_TAKEN
    read = getting(bench, alice)
    user = bench.ask(read).ack(read)["user"]
    assert (user["username"], described(user)) == (alices_name, {})
    assert put(bench, alice, bobs_name)["username"] == bobs_name
    assert code_of(bench, refused) is ErrorCode.USERNAME_TAKEN


def test_a_profile_remembers_the_last_refusals(bench: WorkerBench, name: Name) -> None:
    (alice, _), (_, bobs_name) = bench.person("alice"), bench.person("bob")
    events = [putting(bench, alice, bobs_name) for _ in range(HANDLED + 2)]
    bench.ask(*events)
    ((kept,),) = bench.rows("SELECT refused FROM profiles WHERE id = :id", id=alice)
    assert [str(one) for one in kept] == [event.id for event in events[-HANDLED:]]
