"""The sweep publishes again what nobody confirmed, and announces the users of dead edges as offline."""

import uuid
from typing import Any

import pytest
from redis import RedisError

from infra.presence import REGISTRY_TTL_S
from infra.wire import names
from tests.harness.engines import listening
from tests.harness.worker_bench import WorkerBench
from workers.publish import Publisher

Sent = dict[str, Any]


def send(bench: WorkerBench, sender: uuid.UUID, to: str) -> Sent:
    event = bench.send(sender, to, "hello")
    message: Sent = bench.ask(event).ack(event)["message"]
    return message


def watch(bench: WorkerBench, message: Sent) -> float | None:
    """Return in how many seconds the chat is swept next, or None."""
    ((due,),) = bench.rows(
        "SELECT extract(epoch FROM sweep_at - now())::float FROM chats WHERE id = :c", c=message["chatId"]
    )
    seconds: float | None = due
    return seconds


def swept(bench: WorkerBench, user_id: uuid.UUID) -> list[Any]:
    bench.read()
    bench.sweep.run()
    return bench.read().emitted("new_message", user_id)


def test_an_unconfirmed_delivery_is_published_again_to_a_user_who_is_online(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(bob)
    message = send(bench, alice, bobs_name)
    bench.make_due(message["chatId"])
    assert swept(bench, bob) == [message]


def test_a_young_delivery_is_left_alone(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(bob)
    message = send(bench, alice, bobs_name)
    assert swept(bench, bob) == []
    due = watch(bench, message)
    assert due is not None
    assert 0 < due <= bench.context.sweep_after_s


def test_a_confirmed_delivery_is_not_published_again_and_no_longer_watched(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(bob)
    message = send(bench, alice, bobs_name)
    receipt = {"chatId": message["chatId"], "spans": [[1, 1]]}
    bench.ask(bench.event(bob, "confirm_delivery", receipt))
    bench.make_due(message["chatId"])
    assert swept(bench, bob) == []
    assert watch(bench, message) is None


def test_a_user_who_is_offline_is_not_watched(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    message = send(bench, alice, bobs_name)
    bench.make_due(message["chatId"])
    assert swept(bench, bob) == []
    assert watch(bench, message) is None


def test_a_message_to_a_user_who_was_offline_is_watched_from_then_on(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.make_due(send(bench, alice, bobs_name)["chatId"])
    bench.sweep.run()
    bench.connect(bob)
    message = send(bench, alice, bobs_name)
    bench.make_due(message["chatId"])
    assert [swept_message["seq"] for swept_message in swept(bench, bob)] == [2]


def test_a_message_is_swept_once_and_a_newer_one_as_soon_as_usual(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(bob)
    first = send(bench, alice, bobs_name)
    bench.make_due(first["chatId"])
    assert swept(bench, bob) == [first]
    assert watch(bench, first) is None
    second = send(bench, alice, bobs_name)
    due = watch(bench, second)
    assert due is not None
    assert due <= bench.context.sweep_after_s
    bench.make_due(second["chatId"])
    assert swept(bench, bob) == [second]


def test_an_unpublished_message_is_swept_again(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(bob)
    message = send(bench, alice, bobs_name)
    bench.make_due(message["chatId"])
    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish", _fail)
        with pytest.raises(RedisError):
            bench.sweep.run()
    assert swept(bench, bob) == [message]


def _fail(*_: object) -> None:
    raise RedisError("Redis went away")


def test_a_sweep_publishes_no_more_than_a_page_of_a_chat(make_bench: Any) -> None:
    bench = make_bench(page_max=5)
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(bob)
    for _ in range(7):
        message = send(bench, alice, bobs_name)
    bench.make_due(message["chatId"])
    assert [again["seq"] for again in swept(bench, bob)] == [1, 2, 3, 4, 5]
    assert [again["seq"] for again in swept(bench, bob)] == [6, 7]


def test_a_sweep_with_nothing_due_asks_one_question_and_reads_no_message(bench: WorkerBench) -> None:
    bench.rows("UPDATE chats SET sweep_at = NULL")
    asked: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        asked.append(statement)

    with listening(bench.worker_engine, "before_cursor_execute", note):
        bench.sweep.run()
    assert len(asked) == 1
    assert "messages" not in asked[0]


@pytest.fixture
def dead_edge(bench: WorkerBench) -> str:
    edge_id = f"{bench.edge_id}-dead"
    bench.open_edge(edge_id, lease_ms=-1)
    return edge_id


def test_a_dead_edge_is_forgotten(bench: WorkerBench, dead_edge: str) -> None:
    bob, _ = bench.person("bob")
    bench.connect(bob, dead_edge)
    bench.sweep.run()
    assert bench.redis.zscore(names.LEASES_KEY, dead_edge) is None
    assert 0 < expiry_s(bench, names.inbox_key(dead_edge)) <= REGISTRY_TTL_S
    assert not bench.redis.exists(names.edge_users_key(dead_edge), names.user_edges_key(str(bob)))


def expiry_s(bench: WorkerBench, key: str) -> int:
    seconds: Any = bench.redis.ttl(key)
    return int(seconds)


def test_an_edge_with_a_lease_is_kept(bench: WorkerBench) -> None:
    bob, _ = bench.person("bob")
    bench.connect(bob)
    bench.sweep.run()
    assert bench.context.presence.edges_of({str(bob)}) == {str(bob): [bench.edge_id]}


@pytest.fixture
def peers(bench: WorkerBench, dead_edge: str) -> tuple[uuid.UUID, uuid.UUID]:
    """Connect alice, who has joined a chat with bob, whose edge is dead; return their ids."""
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(alice)
    bench.connect(bob, dead_edge)
    bench.befriend(alice, (bob, bobs_name))
    return alice, bob


def test_peers_are_told_that_the_users_of_a_dead_edge_are_offline(
    bench: WorkerBench, peers: tuple[uuid.UUID, uuid.UUID]
) -> None:
    alice, bob = peers
    bench.sweep.run()
    (status,) = bench.read().emitted("user_status", alice)
    assert (status["userId"], status["status"]) == (str(bob), "offline")


def test_peers_are_told_so_only_once(bench: WorkerBench, peers: tuple[uuid.UUID, uuid.UUID]) -> None:
    alice, _ = peers
    bench.sweep.run()
    bench.sweep.run()
    assert len(bench.read().emitted("user_status", alice)) == 1


def test_peers_are_told_so_even_if_the_first_sweep_fails(
    bench: WorkerBench, peers: tuple[uuid.UUID, uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = peers
    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish", _fail)
        with pytest.raises(RedisError):
            bench.sweep.run()
    bench.sweep.run()
    assert len(bench.read().emitted("user_status", alice)) == 1


def test_a_user_of_a_dead_edge_who_is_also_elsewhere_stays_online(bench: WorkerBench, dead_edge: str) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(alice)
    bench.connect(bob)
    bench.connect(bob, dead_edge)
    bench.befriend(alice, (bob, bobs_name))
    bench.sweep.run()
    assert [status["status"] for status in bench.read().emitted("user_status", alice)] == ["online"]


def test_undelivered_messages_of_an_earlier_release_are_still_delivered(bench: WorkerBench) -> None:
    """Its chats do not know the newest seq to each member."""
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.connect(bob)
    first = send(bench, alice, bobs_name)
    chat_id = first["chatId"]
    bench.ask(bench.event(bob, "confirm_delivery", {"chatId": chat_id, "spans": [[1, 1]]}))
    bench.rows(
        "UPDATE chats SET last_seq = 2, sweep_at = now(), last_to_lo = NULL, last_to_hi = NULL WHERE id = :c",
        c=chat_id,
    )
    bench.rows(
        """
        INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
        SELECT chat_id, 2, gen_random_uuid(), sender_id, recipient_id, text, now()
        FROM messages WHERE chat_id = :c
        """,
        c=chat_id,
    )
    catch_up = bench.event(bob, "catch_up", {"username": bobs_name})
    page = bench.ask(catch_up).ack(catch_up)
    assert [position for position, _ in page["messages"]] == [[chat_id, 2]]
    third = send(bench, alice, bobs_name)
    assert [message["seq"] for message in swept(bench, bob)] == [2, third["seq"]]


def test_a_user_who_only_writes_has_nothing_to_catch_up_with(bench: WorkerBench) -> None:
    (alice, alices_name), (bob, bobs_name) = bench.people("alice", "bob")
    message = send(bench, alice, bobs_name)
    for user_id, username, pages in ((alice, alices_name, []), (bob, bobs_name, [[message["chatId"], 1]])):
        catch_up = bench.event(user_id, "catch_up", {"username": username})
        messages = bench.ask(catch_up).ack(catch_up)["messages"]
        assert [position for position, _ in messages] == pages
