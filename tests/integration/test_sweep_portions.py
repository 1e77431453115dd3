"""The sweep works in portions, locks nothing while it asks Redis, and survives what happens meanwhile."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from redis import RedisError

from infra.presence import PresenceReader
from infra.wire import names
from infra.wire.inbox import Emit, Target
from tests.harness.worker_bench import WorkerBench
from tests.integration.test_sweep import Sent, send, swept, watch
from workers import publish, sweep
from workers.outcome import Outcome
from workers.publish import Publisher

Meanwhile = Callable[[], None]


@pytest.fixture
def unconfirmed(bench: WorkerBench) -> tuple[uuid.UUID, str, Sent]:
    """Send bob, who is online, a message that is due; return his id, his name and the message."""
    bench.rows("UPDATE chats SET sweep_at = NULL")
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(bob)
    message = send(bench, alice, bobs_name)
    bench.make_due(message["chatId"])
    return bob, bobs_name, message


def during(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, work: Meanwhile) -> None:
    """Do something once, in the middle of a sweep: before it calls a method."""
    original, waiting = getattr(owner, method), [work]

    def call(*arguments: Any, **named: Any) -> Any:
        if waiting:
            waiting.pop()()
        return original(*arguments, **named)

    monkeypatch.setattr(owner, method, call)


def state(bench: WorkerBench, message: Sent) -> tuple[int, int]:
    ((swept_seq, last_seq),) = bench.rows(
        "SELECT swept_seq, last_seq FROM chats WHERE id = :c", c=message["chatId"]
    )
    return swept_seq, last_seq


@pytest.mark.parametrize(("owner", "method"), [(PresenceReader, "online"), (Publisher, "publish")])
def test_no_row_is_locked_while_redis_is_asked(
    bench: WorkerBench,
    unconfirmed: tuple[uuid.UUID, str, Sent],
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
) -> None:
    bob, bobs_name, message = unconfirmed
    dead_edge = f"{bench.edge_id}-dead"
    bench.open_edge(dead_edge, lease_ms=-1)
    bench.connect(bob, dead_edge)
    locked = {
        "chats": "id = :c",
        "chat_members": "chat_id = :c",
        "messages": "chat_id = :c",
        "profiles": "username = :n",
    }

    def lock_everything() -> None:
        for table, condition in locked.items():
            statement = f"SELECT 1 FROM {table} WHERE {condition} FOR UPDATE NOWAIT"
            assert bench.rows(statement, c=message["chatId"], n=bobs_name)

    original, asked = getattr(owner, method), 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        lock_everything()
        return original(*arguments, **named)

    monkeypatch.setattr(owner, method, call)
    assert swept(bench, bob) == [message]
    assert asked >= 1


def test_a_message_that_is_sent_meanwhile_is_swept_as_soon_as_usual(
    bench: WorkerBench, unconfirmed: tuple[uuid.UUID, str, Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, bobs_name, message = unconfirmed
    sender = uuid.UUID(message["senderId"])
    with monkeypatch.context() as patch:
        during(patch, PresenceReader, "online", lambda: bench.processor.process([bench.batch([second])]))
        second = bench.send(sender, bobs_name, "second")
        bench.sweep.run()
    assert state(bench, message) == (1, 2)
    due = watch(bench, message)
    assert due is not None
    assert 0 < due <= bench.context.sweep_after_s
    bench.make_due(message["chatId"])
    assert [one["seq"] for one in swept(bench, bob)] == [2]


def test_two_sweeps_at_once_do_no_harm(
    bench: WorkerBench, unconfirmed: tuple[uuid.UUID, str, Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, _, message = unconfirmed
    with monkeypatch.context() as patch:
        during(patch, Publisher, "publish", bench.sweep.run)
        bench.sweep.run()
    assert state(bench, message) == (1, 1)
    assert watch(bench, message) is None
    assert {one["id"] for one in bench.read().emitted("new_message", bob)} == {message["id"]}
    assert swept(bench, bob) == []


def test_an_older_sweep_does_not_undo_a_newer_one(
    bench: WorkerBench, unconfirmed: tuple[uuid.UUID, str, Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bobs_name, message = unconfirmed

    def go_on() -> None:
        bench.sweep.run()
        send(bench, uuid.UUID(message["senderId"]), bobs_name)
        bench.make_due(message["chatId"])
        bench.sweep.run()

    with monkeypatch.context() as patch:
        during(patch, Publisher, "publish", go_on)
        bench.sweep.run()
    assert state(bench, message) == (2, 2)
    assert watch(bench, message) is None


def test_a_chat_that_stays_locked_is_swept_again_and_holds_up_no_other(
    bench: WorkerBench, unconfirmed: tuple[uuid.UUID, str, Sent]
) -> None:
    bob, bobs_name, locked = unconfirmed
    (carol, _) = bench.person("carol")
    other = send(bench, carol, bobs_name)
    bench.make_due(other["chatId"])
    with bench.engine.connect() as sender:
        sender.exec_driver_sql(f"SELECT 1 FROM chats WHERE id = '{locked['chatId']}' FOR NO KEY UPDATE")
        bench.sweep.run()
        assert (watch(bench, locked) is None, watch(bench, other) is None) == (False, True)
    assert swept(bench, bob) == [locked]
    assert watch(bench, locked) is None


def test_more_chats_than_a_portion_are_swept_in_one_run(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.rows("UPDATE chats SET sweep_at = NULL")
    monkeypatch.setattr(sweep, "_CHATS", 3)
    bob, bobs_name = bench.person("bob")
    bench.connect(bob)
    senders = bench.people(*(f"p{number}" for number in range(8)))
    bench.ask(*(bench.send(user_id, bobs_name, "hello") for user_id, _ in senders))
    bench.rows("UPDATE chats SET sweep_at = now() WHERE sweep_at IS NOT NULL")
    publications = count_calls(monkeypatch, Publisher, "publish")
    assert len(swept(bench, bob)) == 8
    assert len(publications) == 3


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: type, method: str) -> list[Any]:
    """Record the arguments of each call of a method."""
    original, calls = getattr(owner, method), list[Any]()

    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return original(self, *arguments, **named)

    monkeypatch.setattr(owner, method, call)
    return calls


def test_the_messages_of_a_portion_are_bounded_and_the_rest_follows(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.rows("UPDATE chats SET sweep_at = NULL")
    monkeypatch.setattr(sweep, "_MESSAGES", 6)
    bob, bobs_name = bench.person("bob")
    bench.connect(bob)
    for sender, _ in bench.people("a", "b", "c"):
        bench.ask(*(bench.send(sender, bobs_name, f"{number}") for number in range(4)))
    bench.rows("UPDATE chats SET sweep_at = now() WHERE sweep_at IS NOT NULL")
    assert [sorted(one["seq"] for one in swept(bench, bob)) for _ in range(3)] == [
        [1, 1, 1, 2, 2, 2],
        [3, 3, 3, 4, 4, 4],
        [],
    ]


@pytest.fixture
def crowd(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch) -> tuple[uuid.UUID, set[str], str]:
    """Let 25 users be on a dead edge, all peers of alice; return her id, theirs and the edge's."""
    monkeypatch.setattr(sweep, "_USERS", 10)
    dead_edge = f"{bench.edge_id}-dead"
    bench.open_edge(dead_edge, lease_ms=-1)
    alice, _ = bench.person("alice")
    bench.connect(alice)
    people = bench.people(*(f"p{number}" for number in range(25)))
    bench.befriend(alice, *people)
    for user_id, _ in people:
        bench.connect(user_id, dead_edge)
    return alice, {str(user_id) for user_id, _ in people}, dead_edge


def offline(bench: WorkerBench, alice: uuid.UUID) -> list[str]:
    return [status["userId"] for status in bench.read().emitted("user_status", alice)]


def test_the_users_of_a_dead_edge_are_announced_in_portions(
    bench: WorkerBench, crowd: tuple[uuid.UUID, set[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, users, dead_edge = crowd
    asked = count_calls(monkeypatch, PresenceReader, "online")
    publications = count_calls(monkeypatch, Publisher, "publish")
    bench.sweep.run()
    assert sorted(offline(bench, alice)) == sorted(users)
    assert max(len(arguments[0]) for arguments in asked) == 10
    assert max(len(arguments[0].emits) for arguments in publications) == 10
    assert bench.redis.zscore(names.LEASES_KEY, dead_edge) is None


def test_a_sweep_that_is_stopped_in_between_is_continued(
    bench: WorkerBench, crowd: tuple[uuid.UUID, set[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, users, dead_edge = crowd
    original, published = Publisher.publish, 0

    def fail_the_second_time(*arguments: Any) -> None:
        nonlocal published
        published += 1
        if published == 2:
            raise RedisError("Redis went away")
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish", fail_the_second_time)
        with pytest.raises(RedisError):
            bench.sweep.run()
    first = offline(bench, alice)
    assert len(first) == 10
    assert bench.redis.zscore(names.LEASES_KEY, dead_edge) is not None
    bench.sweep.run()
    assert sorted(first + offline(bench, alice)) == sorted(users)
    assert bench.redis.zscore(names.LEASES_KEY, dead_edge) is None


def test_a_sweep_that_runs_out_of_time_is_continued(
    bench: WorkerBench, crowd: tuple[uuid.UUID, set[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, users, dead_edge = crowd
    monkeypatch.setattr(sweep, "_RUN_S", 0.0)
    told: list[str] = []
    for count in (10, 20, 25):
        bench.sweep.run()
        told += offline(bench, alice)
        assert len(told) == count
    assert sorted(told) == sorted(users)
    assert bench.redis.zscore(names.LEASES_KEY, dead_edge) is None


def test_very_many_emits_are_routed_in_portions_and_stay_in_order(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_EMITS", 4)
    bob, _ = bench.person("bob")
    bench.connect(bob)
    outcome = Outcome()
    for number in range(11):
        outcome.emit(str(bob), "user_status", Target(str(number), "x"))
    bench.publisher.publish(outcome)
    reply = bench.read()
    assert [len(entry.emits) for entry in reply.entries] == [4, 4, 3]
    assert [status[0] for status in reply.emitted("user_status", bob)] == [str(n) for n in range(11)]
    assert isinstance(reply.emits[0], Emit)
