"""The app's own backend gives users their profiles and names."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from infra.wire.server_api import NOBODY
from tests.conftest import Name
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory
from workers.requests import HANDLED

BACKEND = uuid.UUID(NOBODY)


def putting(bench: WorkerBench, user_id: uuid.UUID, username: str) -> Event:
    return bench.event(BACKEND, "put_user", {"userId": str(user_id), "username": username})


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
