"""The outbox of webhooks: facts are written by what makes them, once, for the endpoints that want them."""

import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import _queries

from infra.wire import names
from infra.wire.events import Message
from infra.wire.webhooks import EVENTS
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory
from workers.batch_processor import BatchProcessor

ALL = dict.fromkeys(EVENTS, ("app",))


@dataclass
class Told:
    """What is in the outbox about some chats."""

    bench: WorkerBench

    def rows(self, chat_id: str | uuid.UUID) -> list[Any]:
        return self.bench.rows("SELECT * FROM outbox WHERE about = :chat ORDER BY number", chat=str(chat_id))

    def bodies(self, chat_id: str | uuid.UUID, event: str) -> list[Any]:
        return [msgspec.json.decode(row.body) for row in self.rows(chat_id) if row.event == event]


@pytest.fixture
def hooked(make_bench: BenchFactory) -> WorkerBench:
    return make_bench(webhooks=ALL)


@pytest.fixture
def told(hooked: WorkerBench) -> Told:
    return Told(hooked)


@pytest.fixture
def pair(hooked: WorkerBench) -> tuple[uuid.UUID, str, uuid.UUID, str, str]:
    """Alice and bob, and their chat, in which alice has said hello."""
    (alice, to_alice), (bob, to_bob) = hooked.people("alice", "bob")
    return alice, to_alice, bob, to_bob, hooked.open_chat(alice, to_bob)


def test_a_message_is_told_as_its_recipient_sees_it(
    hooked: WorkerBench, told: Told, pair: tuple[Any, ...]
) -> None:
    alice, _, bob, to_bob, chat_id = pair
    hooked.connect(bob)
    odd = {"data": {"deep": [[[{"nul": "\0", "null": None}]]], "number": 1e300}, "clientId": 'my "id" \\ 1'}
    plain, rich = (
        hooked.send(alice, to_bob, "plain"),
        hooked.send(alice, to_bob, "é \U0001f600\n\"'{}%", **odd),
    )
    answer = hooked.send(alice, to_bob, "again", replyTo=1)
    hooked.ask(plain)
    reply = hooked.ask(rich, answer)
    seen = {one["id"]: one for one in reply.emitted("new_message", bob)}
    _, first, second, third = told.bodies(chat_id, "message.created")
    assert first["text"] == "plain"
    assert second == seen[second["id"]]
    assert third == {**seen[third["id"]], "replyTo": {"seq": 1}}
    for row in told.rows(chat_id)[2:]:
        msgspec.json.decode(row.body, type=Message)
        assert row.id == f"message.created/{msgspec.json.decode(row.body)['id']}"


def test_a_chat_is_told_once_before_its_first_message(
    hooked: WorkerBench, told: Told, pair: tuple[Any, ...]
) -> None:
    alice, to_alice, bob, to_bob, chat_id = pair
    hooked.ask(hooked.send(alice, to_bob, "again"), hooked.event(bob, "join_chat", {"username": to_alice}))
    events = [row.event for row in told.rows(chat_id)]
    assert events == ["chat.created", "message.created", "message.created"]
    (body,) = told.bodies(chat_id, "chat.created")
    assert body["chatId"] == chat_id
    assert {(one["userId"], one["username"]) for one in body["users"]} == {
        (str(alice), to_alice),
        (str(bob), to_bob),
    }


def test_messages_to_strangers_are_told_and_refused_ones_are_not(hooked: WorkerBench, told: Told) -> None:
    (alice, to_alice), (bob, to_bob) = hooked.people("alice", "bob")
    hello = hooked.send(alice, to_bob, "hello, stranger")
    chat_id = hooked.ask(hello).ack(hello)["message"]["chatId"]
    hooked.ask(hooked.event(bob, "block_user", {"username": to_alice}))
    refused = hooked.send(alice, to_bob, "hello again")
    assert hooked.ask(refused).failure(refused).code == "not_allowed"
    assert [body["text"] for body in told.bodies(chat_id, "message.created")] == ["hello, stranger"]


def test_changes_are_told_as_they_are_published(
    hooked: WorkerBench, told: Told, pair: tuple[Any, ...]
) -> None:
    alice, _, bob, to_bob, chat_id = pair
    hooked.connect(bob)
    hooked.ask(hooked.send(alice, to_bob, "secret"))
    place = {"chatId": chat_id, "seq": 1}
    edit = hooked.event(alice, "edit_message", {**place, "text": "hello!"})
    react = hooked.event(bob, "react", {**place, "emoji": "👍", "on": True})
    unsend = hooked.event(alice, "unsend_message", {"chatId": chat_id, "seq": 2})
    published = []
    for event in (edit, react, unsend, unsend):
        reply = hooked.ask(event)
        assert reply.ack(event)
        published += reply.emitted("message_changed", bob)
    bodies = told.bodies(chat_id, "message.changed")
    assert bodies == published[:3]
    assert [body["change"] for body in bodies] == [1, 2, 3]
    assert [body["text"] for body in bodies] == ["hello!", "hello!", ""]


def test_receipts_are_told_when_they_say_something_new(
    hooked: WorkerBench, told: Told, pair: tuple[Any, ...]
) -> None:
    alice, _, bob, to_bob, chat_id = pair
    hooked.ask(*(hooked.send(alice, to_bob, f"message {number}") for number in range(5)))

    def confirm(*spans: tuple[int, int]) -> None:
        hooked.ask(hooked.event(bob, "confirm_delivery", {"chatId": chat_id, "spans": spans}))

    confirm((1, 2))
    confirm((1, 2))
    confirm((4, 4))
    confirm((3, 3), (4, 4))
    for _ in range(2):
        hooked.ask(hooked.event(bob, "mark_as_read", {"chatId": chat_id, "upTo": 5}))
    confirm((3, 5))
    delivered, read = (told.bodies(chat_id, f"message.{word}") for word in ("delivered", "read"))
    assert [(one["status"], one["upTo"]) for one in delivered] == [("delivered", 2), ("delivered", 4)]
    assert [(one["status"], one["upTo"]) for one in read] == [("read", 5)]
    assert {one["userId"] for one in (*delivered, *read)} == {str(bob)}
    assert all(one["at"].endswith("Z") for one in (*delivered, *read))


def test_receipts_behind_a_hole_are_told(hooked: WorkerBench, told: Told, pair: tuple[Any, ...]) -> None:
    alice, to_alice, bob, to_bob, chat_id = pair
    hooked.ask(hooked.send(bob, to_alice, "mine"))
    hooked.ask(hooked.send(alice, to_bob, "yours"))
    hooked.ask(hooked.event(bob, "confirm_delivery", {"chatId": chat_id, "spans": [(1, 1)]}))
    hooked.ask(hooked.event(bob, "confirm_delivery", {"chatId": chat_id, "spans": [(3, 3)]}))
    assert [one["upTo"] for one in told.bodies(chat_id, "message.delivered")] == [1, 3]


def test_reports_are_told_without_messages(hooked: WorkerBench, told: Told, pair: tuple[Any, ...]) -> None:
    alice, _, bob, _, chat_id = pair
    asked = {"chatId": chat_id, "seq": 1, "reason": "spam", "note": 'a "note"'}
    for _ in range(2):
        event = hooked.event(bob, "report", asked)
        report_id = hooked.ask(event).ack(event)["reportId"]
    (body,) = told.bodies(chat_id, "report.created")
    assert body.pop("createdAt")
    assert body == {**asked, "reportId": report_id, "reporterId": str(bob), "reportedId": str(alice)}


def test_nothing_is_written_for_events_that_no_endpoint_wants(make_bench: BenchFactory) -> None:
    bench = make_bench(webhooks={"message.read": ("app",)})
    (alice, _), (bob, to_bob) = bench.people("alice", "bob")
    hello = bench.send(alice, to_bob, "hello")
    chat_id = bench.ask(hello).ack(hello)["message"]["chatId"]
    bench.ask(
        bench.event(alice, "edit_message", {"chatId": chat_id, "seq": 1, "text": "hello!"}),
        bench.event(bob, "confirm_delivery", {"chatId": chat_id, "spans": [(1, 1)]}),
        bench.event(bob, "report", {"chatId": chat_id, "seq": 1, "reason": "spam"}),
        bench.event(bob, "mark_as_read", {"chatId": chat_id}),
    )
    assert [row.event for row in Told(bench).rows(chat_id)] == ["message.read"]


def test_each_endpoint_gets_its_own_row(make_bench: BenchFactory) -> None:
    bench = make_bench(webhooks={"message.created": ("app", "audit"), "message.changed": ("audit", "app")})
    (alice, _), (_, to_bob) = bench.people("alice", "bob")
    hello = bench.send(alice, to_bob, "hello")
    chat_id = bench.ask(hello).ack(hello)["message"]["chatId"]
    bench.ask(bench.event(alice, "edit_message", {"chatId": chat_id, "seq": 1, "text": "hello!"}))
    rows = Told(bench).rows(chat_id)
    assert sorted((row.event, row.endpoint) for row in rows) == [
        ("message.changed", "app"),
        ("message.changed", "audit"),
        ("message.created", "app"),
        ("message.created", "audit"),
    ]
    assert len({row.id for row in rows}) == 2


def test_a_batch_that_is_repeated_adds_nothing(
    hooked: WorkerBench, told: Told, pair: tuple[Any, ...]
) -> None:
    alice, _, _, to_bob, chat_id = pair
    events = [hooked.send(alice, to_bob, f"message {number}", clientId=f"{number}") for number in range(5)]
    hooked.ask(*events)
    first = [row.id for row in told.rows(chat_id)]
    for _ in range(3):
        hooked.ask(*events)
        hooked.ask(*(hooked.send(alice, to_bob, "other id", clientId=f"{number}") for number in range(5)))
    assert [row.id for row in told.rows(chat_id)] == first
    assert len(first) == 7


def test_a_fact_that_rolls_back_leaves_nothing(
    hooked: WorkerBench, told: Told, pair: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _, bob, _, chat_id = pair
    before = told.rows(chat_id)

    def fail(*_: object) -> None:
        raise RuntimeError("died before the commit")

    monkeypatch.setattr("workers.handlers.mark_as_read.read_unread", fail)
    edit = hooked.event(alice, "edit_message", {"chatId": chat_id, "seq": 1, "text": "hello!"})
    read = hooked.event(bob, "mark_as_read", {"chatId": chat_id})
    reply = hooked.ask(read)
    assert reply.failure(read).code == "internal"
    assert told.rows(chat_id) == before
    monkeypatch.undo()
    hooked.ask(edit, hooked.event(bob, "mark_as_read", {"chatId": chat_id}))
    assert [row.event for row in told.rows(chat_id)[len(before) :]] == ["message.read", "message.changed"]


def test_many_writers_at_once_lose_nothing_and_invent_nothing(make_bench: BenchFactory) -> None:
    """Workers write to the same chats, each batch twice: each message is told once, in its order."""
    bench = make_bench(webhooks=ALL)
    told = Told(bench)
    people = bench.people(*(["person"] * 4))
    pairs = [(one, other) for one in people for other in people if one < other]
    chats = [bench.open_chat(one[0], other[1]) for one, other in pairs]
    batches = [
        [
            bench.send(writer[0], reader[1], f"{turn}")
            for one, other in pairs
            for writer, reader in ((one, other), (other, one))
        ]
        for turn in range(40)
    ]

    def work(batch: list[Any]) -> None:
        processor = BatchProcessor(bench.worker_engine, bench.publisher, bench.context)
        for _ in range(2):
            processor.process([bench.batch(batch)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, batches))
    for chat_id in chats:
        stored = bench.rows("SELECT id, seq FROM messages WHERE chat_id = :chat ORDER BY seq", chat=chat_id)
        bodies = told.bodies(chat_id, "message.created")
        assert [(body["id"], body["seq"]) for body in bodies] == [(str(row.id), row.seq) for row in stored]
        assert len(stored) == 81


def test_a_worker_that_dies_in_its_statement_leaves_neither_message_nor_fact(
    hooked: WorkerBench, told: Told, pair: tuple[Any, ...]
) -> None:
    """Its connection is cut while the statement waits for the chat; the repeated batch makes both, once."""
    alice, _, _, to_bob, chat_id = pair
    event = hooked.send(alice, to_bob, "hello")
    url = hooked.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, options="-c search_path=bbgram") as lock, ThreadPoolExecutor(1) as pool:
        lock.execute("SELECT FROM chats WHERE id = %s FOR UPDATE", [chat_id])
        asked = pool.submit(hooked.ask, event)
        killed: list[Any] = []
        while not killed and not asked.done():
            # A transaction goes on seeing the activity that it has seen first.
            lock.execute("SELECT pg_stat_clear_snapshot()")
            killed = lock.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND query LIKE '%WITH routed%'"
                " AND datname = current_database()"
            ).fetchall()
        assert killed
        lock.rollback()
        asked.result()
    assert len(told.bodies(chat_id, "message.created")) == 1
    hooked.ask(event)
    assert len(told.bodies(chat_id, "message.created")) == 2


def test_coming_and_going_is_told_to_endpoints_that_name_it(make_bench: BenchFactory) -> None:
    bench = make_bench(webhooks={"user.online": ("app",), "user.offline": ("app", "audit")})
    told = Told(bench)
    alice, name = bench.person("alice")
    bench.connect(alice)
    comes, goes = bench.event(alice, "announce", {}), bench.event(alice, "announce", {})
    for _ in range(2):
        bench.ask(comes)
    bench.redis.srem(names.user_edges_key(str(alice)), bench.edge_id)
    bench.ask(goes)
    rows = told.rows(alice)
    assert [(row.endpoint, row.id) for row in rows[:2]] == [("app", f"user.online/{comes.id}")] * 2
    assert {(row.endpoint, row.id) for row in rows[2:]} == {
        ("app", f"user.offline/{goes.id}"),
        ("audit", f"user.offline/{goes.id}"),
    }
    body = msgspec.json.decode(rows[-1].body)
    assert body.pop("at").endswith("Z")
    assert body == {"userId": str(alice), "username": name}
    assert bench.rows("SELECT last_seen_at FROM profiles WHERE id = :id", id=alice)[0].last_seen_at


def test_users_of_an_edge_that_died_are_told_to_be_offline(make_bench: BenchFactory) -> None:
    bench = make_bench(webhooks={"user.online": ("app",), "user.offline": ("app",)})
    alice, _ = bench.person("alice")
    bench.open_edge("dead", lease_ms=-600_000)
    bench.connect(alice, "dead")
    bench.sweep.run()
    (row,) = Told(bench).rows(alice)
    assert row.id == f"user.offline/dead/{alice}"


@pytest.mark.parametrize("webhooks", [{}, ALL])
@pytest.mark.parametrize("count", [1, 2])
def test_psycopg_keeps_the_parsed_statements_of_messages_and_receipts(
    make_bench: BenchFactory, monkeypatch: pytest.MonkeyPatch, webhooks: Mapping[str, Any], count: int
) -> None:
    bench = make_bench(webhooks=webhooks)
    (alice, _), (bob_id, bob) = bench.people("alice", "bob")
    chat_id = bench.open_chat(alice, bob)
    parsed: list[bytes] = []

    def parse(query: bytes, encoding: str) -> Any:
        parsed.append(query)
        return _queries._query2pg.__wrapped__(query, encoding)

    monkeypatch.setattr(_queries, "_query2pg_nocache", parse)
    bench.ask(*(bench.send(alice, bob, "a message") for _ in range(count)))
    receipt = bench.event(bob_id, "confirm_delivery", {"chatId": chat_id, "spans": [[1, count + 1]]})
    assert bench.ask(receipt).ack(receipt) == {"success": True}
    assert parsed == []
