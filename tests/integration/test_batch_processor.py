"""Batches on real engines: poison, repetition, concurrency and unreachable services."""

import uuid
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from time import monotonic
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import Connection, make_url, text

from infra.store.engine import make_engine
from infra.wire.batch import Batch, Event
from infra.wire.commands import MarkAsRead, SendMessage
from infra.wire.errors import ErrorCode
from tests.harness.engines import Engines, free_port, listening
from tests.harness.worker_bench import Reply, WorkerBench, replace_handler
from tests.integration.conftest import BenchFactory
from workers import batch_processor as module
from workers.batch_processor import BatchProcessor
from workers.context import HandlerContext
from workers.handlers.mark_as_read import mark_as_read
from workers.handlers.send_message import send_messages
from workers.outcome import Outcome
from workers.requests import Request

ROUNDS = 20


def send_many(bench: WorkerBench, sender: uuid.UUID, to: str, count: int, at: int, words: str) -> list[Event]:
    """`count` sends, of which the one at index `at` has other words."""
    return [bench.send(sender, to, words if n == at else f"harmless {n}") for n in range(count)]


def poison_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    def send_unless_poison(
        conn: Connection, requests: Sequence[Request[SendMessage]], context: HandlerContext
    ) -> Outcome:
        if any(request.command.text == "poison" for request in requests):
            raise RuntimeError("a bug that only this text wakes")
        return send_messages(conn, requests, context)

    replace_handler(monkeypatch, "send_message", send_unless_poison)


def assert_only_the_poison_failed(bench: WorkerBench, events: list[Event], poison: Event, why: str) -> None:
    reply = bench.ask(*events)
    assert reply.failure(poison).code is ErrorCode.INTERNAL
    acks = [reply.ack(event) for event in events if event is not poison]
    assert sorted(ack["message"]["seq"] for ack in acks) == list(range(1, 100))
    assert bench.seqs(acks[0]["message"]["chatId"]) == list(range(1, 100))
    ((error, payload),) = bench.rows(
        "SELECT error, payload FROM dead_letters WHERE id = :id", id=uuid.UUID(poison.id)
    )
    assert why in error
    assert "poison" in payload


def test_the_edge_that_asked_receives_the_events_of_its_user_before_the_user_is_registered(
    bench: WorkerBench,
) -> None:
    (alice, _), (_, bobs_name) = bench.people("alice", "bob")
    send = bench.send(alice, bobs_name, "hi")
    reply = bench.ask(send)
    assert reply.emitted("message_sent", alice) == [reply.ack(send)["message"]]


def test_after_a_slow_batch_no_kind_of_event_waits_for_the_others(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered_together(reply: Reply) -> list[set[str]]:
        return [{name_of[answer.id] for answer in entry.all_answers()} for entry in reply.entries]

    (alice, _), (_, bob) = bench.people("alice", "bob")
    chat_id = bench.open_chat(alice, bob)
    events = [
        bench.event(alice, "get_messages", {"chatId": chat_id}),
        bench.send(alice, bob, "a message"),
        bench.event(alice, "mark_as_read", {"chatId": chat_id}),
    ]
    name_of = {event.id: event.name for event in events}
    monkeypatch.setattr(module, "_SLOW_S", 0.0)
    assert answered_together(bench.ask(*events)) == [{"mark_as_read", "send_message", "get_messages"}]

    reply = bench.ask(*events)
    assert answered_together(reply) == [{"mark_as_read"}, {"send_message"}, {"get_messages"}]
    assert [entry.batch_id is None for entry in reply.entries] == [True, True, False]
    assert bench.seqs(chat_id) == [1, 2]


def chat_after_a_slow_batch(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> tuple[uuid.UUID, str, str]:
    """Return alice, bob's name and their chat of two messages; all batches are slow from then on."""
    (alice, _), (_, bob) = bench.people("alice", "bob")
    chat_id = bench.open_chat(alice, bob)
    monkeypatch.setattr(module, "_SLOW_S", 0.0)
    bench.open_chat(alice, bob)
    return alice, bob, chat_id


def test_after_a_slow_batch_each_batch_is_closed_as_soon_as_it_is_answered(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, chat_id = chat_after_a_slow_batch(bench, monkeypatch)
    pages = bench.batch([bench.event(alice, "get_messages", {"chatId": chat_id})])
    sends = bench.batch([bench.send(alice, bob, "a message")])
    marks = bench.batch([bench.event(alice, "mark_as_read", {"chatId": chat_id})])
    bench.processor.process([pages, sends, marks])
    entries = bench.read().entries
    assert [(entry.batch_id, [answer.id for answer in entry.all_answers()]) for entry in entries] == [
        (batch.id, [batch.events[0].id]) for batch in (marks, sends, pages)
    ]


def test_what_expires_while_other_kinds_are_handled_is_neither_stored_nor_answered(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, chat_id = chat_after_a_slow_batch(bench, monkeypatch)

    def mark_slowly(
        conn: Connection, requests: Sequence[Request[MarkAsRead]], context: HandlerContext
    ) -> Outcome:
        until = cast(int, bench.publisher.clock.now_ms()) + 50
        while cast(int, bench.publisher.clock.now_ms()) <= until:
            conn.execute(text("SELECT pg_sleep(0.01)"))
        return mark_as_read(conn, requests, context)

    replace_handler(monkeypatch, "mark_as_read", mark_slowly)
    mark = bench.event(alice, "mark_as_read", {"chatId": chat_id})
    soon_ms = cast(int, bench.publisher.clock.now_ms()) + 50
    send = msgspec.structs.replace(bench.send(alice, bob, "too late"), expires_ms=soon_ms)
    reply = bench.ask(mark, send)
    assert list(reply.answers) == [mark.id]
    assert [entry.batch_id is None for entry in reply.entries] == [True, False]
    assert bench.seqs(chat_id) == [1, 2]


def test_an_event_that_breaks_its_handler_fails_alone(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_the_handler(monkeypatch)
    (alice, _), (_, bob) = bench.people("alice", "bob")
    events = send_many(bench, alice, bob, 100, 41, "poison")
    assert_only_the_poison_failed(bench, events, events[41], "RuntimeError: a bug that only this text wakes")


def test_a_row_that_the_database_refuses_fails_alone(bench: WorkerBench) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    events = send_many(bench, alice, bob, 100, 99, "poison")
    with bench.refusing("poison"):
        assert_only_the_poison_failed(bench, events, events[99], "no_poison")


def test_a_value_that_the_driver_refuses_is_the_fault_of_its_event_and_not_of_postgres(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_nul(
        conn: Connection, requests: Sequence[Request[SendMessage]], context: HandlerContext
    ) -> Outcome:
        if any(request.command.text == "poison" for request in requests):
            conn.execute(text("SELECT :value"), {"value": "\0"})
        return send_messages(conn, requests, context)

    replace_handler(monkeypatch, "send_message", send_nul)
    (alice, _), (_, bob) = bench.people("alice", "bob")
    events = send_many(bench, alice, bob, 100, 4, "poison")
    assert_only_the_poison_failed(bench, events, events[4], "DataError")


def test_the_sender_of_poison_learns_nothing_of_the_error(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_the_handler(monkeypatch)
    (alice, _), (_, bob) = bench.people("alice", "bob")
    poison = bench.send(alice, bob, "poison")
    assert bench.ask(poison).failure(poison).message == ErrorCode.INTERNAL.default_message


def test_poison_is_kept_once_however_often_it_comes(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_the_handler(monkeypatch)
    (alice, _), (_, bob) = bench.people("alice", "bob")
    batch = bench.batch([bench.send(alice, bob, "poison")])
    bench.processor.process([batch])
    bench.processor.process([batch])
    rows = bench.rows("SELECT 1 FROM dead_letters WHERE id = :id", id=uuid.UUID(batch.events[0].id))
    assert len(rows) == 1


def test_a_batch_handled_twice_changes_nothing_and_answers_the_same(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    opened = bench.event(alice, "join_chat", {"username": bobs_name})
    chat_id = bench.ask(opened).ack(opened)["chatId"]
    batch = bench.batch(
        [
            bench.send(alice, bobs_name, "one"),
            bench.send(alice, bobs_name, "two", clientId="my-own-id"),
            bench.event(bob, "mark_as_read", {"chatId": chat_id}),
            bench.event(bob, "get_messages", {"chatId": chat_id}),
            bench.event(bob, "sync", {"cursors": {}}),
            bench.event(bob, "list_chats", {}),
            bench.send(alice, "nobody_has_this_name", "three"),
        ]
    )
    bench.processor.process([batch])
    first, stored = bench.read(), bench.rows("SELECT * FROM messages WHERE chat_id = :c", c=chat_id)
    before = bench.rows("SELECT last_seq, activity_at FROM chats WHERE id = :c", c=chat_id)
    bench.processor.process([batch])
    second = bench.read()
    # Marking as read comes before the sends of its batch, and so sees them only the second time.
    sends = [batch.events[0], batch.events[1], batch.events[6]]
    answered = [(first.answers[e.id].failure, _without_status(first, e)) for e in sends]
    assert answered == [(second.answers[e.id].failure, _without_status(second, e)) for e in sends]
    assert bench.rows("SELECT * FROM messages WHERE chat_id = :c", c=chat_id) == stored
    assert bench.rows("SELECT last_seq, activity_at FROM chats WHERE id = :c", c=chat_id) == before


def _without_status(reply: Reply, event: Event) -> Any:
    data = msgspec.json.decode(reply.answers[event.id].data)
    if data and "message" in data:
        del data["message"]["status"]
    return data


def test_a_client_id_twice_in_one_batch_is_stored_once(bench: WorkerBench) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    tries = [bench.send(alice, bob, "once", clientId="same") for _ in range(2)]
    reply = bench.ask(*tries)
    assert reply.ack(tries[0]) == reply.ack(tries[1])
    assert bench.seqs(reply.ack(tries[0])["message"]["chatId"]) == [1]


def test_the_same_client_id_of_two_senders_is_two_messages(bench: WorkerBench) -> None:
    (alice, alices_name), (bob, bobs_name) = bench.people("alice", "bob")
    one = bench.send(alice, bobs_name, "hers", clientId="same")
    other = bench.send(bob, alices_name, "his", clientId="same")
    reply = bench.ask(one, other)
    assert {reply.ack(one)["message"]["text"], reply.ack(other)["message"]["text"]} == {"hers", "his"}


def test_two_workers_with_the_same_batch_at_once_store_it_once(
    bench: WorkerBench, make_bench: BenchFactory
) -> None:
    others = [make_bench(), make_bench()]
    for _ in range(ROUNDS):
        (alice, _), *friends = bench.people("alice", "bob", "carol", "dave")
        batch = bench.batch(bench.send(alice, friends[n % 3][1], f"{n}") for n in range(30))
        reply = _handle_at_once(bench, [(other.processor, batch) for other in others])
        chats = {reply.ack(event)["message"]["chatId"] for event in batch.events}
        assert_hole_free(bench, chats, 10)


def test_overlapping_batches_at_once_are_stored_once_and_in_step(
    bench: WorkerBench, make_bench: BenchFactory
) -> None:
    others = [make_bench(), make_bench()]
    for _ in range(ROUNDS):
        (alice, _), *friends = bench.people("alice", "bob", "carol", "dave")
        events = [bench.send(alice, friends[n % 3][1], f"{n}", clientId=f"c{n}") for n in range(30)]
        again = [bench.send(alice, friends[n % 3][1], f"{n}", clientId=f"c{n}") for n in range(15, 30)]
        batches = [bench.batch(events), bench.batch(again[::-1])]
        reply = _handle_at_once(
            bench, [(other.processor, batch) for other, batch in zip(others, batches, strict=True)]
        )
        for first, retry in zip(events[15:], again, strict=True):
            assert reply.ack(first)["message"]["id"] == reply.ack(retry)["message"]["id"]
        chats = {reply.ack(event)["message"]["chatId"] for event in events}
        assert_hole_free(bench, chats, 10)


def test_batches_of_opposite_pairs_at_once_leave_no_hole(
    bench: WorkerBench, make_bench: BenchFactory
) -> None:
    others = [make_bench(), make_bench()]
    for _ in range(ROUNDS):
        people = bench.people("alice", "bob", "carol")
        pairs = [(a, b) for a in people for b in people if a is not b]
        there = bench.batch(bench.send(a[0], b[1], f"{n}") for n in range(3) for a, b in pairs)
        back = bench.batch(bench.send(b[0], a[1], f"{n}") for n in range(3) for a, b in pairs[::-1])
        reply = _handle_at_once(bench, [(others[0].processor, there), (others[1].processor, back)])
        chats = {reply.ack(event)["message"]["chatId"] for event in (*there.events, *back.events)}
        assert_hole_free(bench, chats, 12)


def test_sends_reads_and_receipts_of_the_same_chats_at_once_all_succeed(
    bench: WorkerBench, make_bench: BenchFactory
) -> None:
    others = [make_bench(), make_bench(), make_bench()]
    people = bench.people("alice", "bob", "carol", "dave")
    pairs = [(a, b) for a in people for b in people if a is not b]
    opened = [bench.event(a[0], "join_chat", {"username": b[1]}) for a, b in pairs]
    reply = bench.ask(*opened)
    chats = {pair: reply.ack(event)["chatId"] for pair, event in zip(pairs, opened, strict=True)}
    for number in range(1, ROUNDS + 1):
        sends = bench.batch(bench.send(a[0], b[1], f"{number}") for a, b in pairs)
        reads = bench.batch(
            event
            for a, b in pairs[::-1]
            for event in (
                bench.event(a[0], "mark_as_read", {"chatId": chats[a, b]}),
                bench.send(b[0], a[1], f"{number} read"),
            )
        )
        receipts = bench.batch(
            bench.event(a[0], "confirm_delivery", {"chatId": chats[a, b], "spans": [[1, 4 * number]]})
            for a, b in pairs
        )
        batches = (sends, reads, receipts)
        reply = _handle_at_once(
            bench, [(other.processor, batch) for other, batch in zip(others, batches, strict=True)]
        )
        for event in (*sends.events, *reads.events, *receipts.events):
            assert reply.ack(event)["success"]
    assert_hole_free(bench, chats.values(), 4 * ROUNDS)


def assert_hole_free(bench: WorkerBench, chats: Iterable[str], messages: int) -> None:
    for chat_id in chats:
        assert bench.seqs(chat_id) == [*range(1, messages + 1)]


def _handle_at_once(bench: WorkerBench, work: list[tuple[BatchProcessor, Batch]]) -> Reply:
    with ThreadPoolExecutor(len(work)) as threads:
        for done in [threads.submit(processor.process, [batch]) for processor, batch in work]:
            done.result(30)
    return bench.read()


def test_without_postgres_the_edge_is_asked_to_send_the_batch_again(bench: WorkerBench) -> None:
    alice, _ = bench.person("alice")
    nowhere = make_engine(f"postgresql+psycopg://nobody:x@127.0.0.1:{free_port()}/nothing")
    batch = bench.batch([bench.send(alice, "bob", "hello")])
    BatchProcessor(nowhere, bench.publisher, bench.context).process([batch])
    (entry,) = bench.read().entries
    assert (entry.batch_id, entry.retry, entry.answers) == (batch.id, ErrorCode.UNAVAILABLE, [])


def test_a_postgres_that_is_read_only_is_left_and_clients_are_asked_to_try_again(engines: Engines) -> None:
    store = engines.new_store()
    with closing(WorkerBench(store)) as bench:
        (alice, _), (_, bob) = bench.people("alice", "bob")
        batches = [bench.batch([]), bench.batch([bench.send(alice, bob, "hello")])]
        setting = f"ALTER DATABASE {make_url(store.database_url).database} %s default_transaction_read_only"
        bench.rows(setting % "SET" + " = on")
        bench.worker_engine.dispose()
        for batch in batches:
            bench.processor.process([batch])
        # New connections may write again; those that are read-only would stay so.
        bench.rows(setting % "RESET")
        for batch in batches:
            bench.processor.process([batch])
        entries = bench.read().entries
    engines.release(store)
    assert [(entry.batch_id, entry.retry) for entry in entries] == [
        *((batch.id, ErrorCode.UNAVAILABLE) for batch in batches),
        *((batch.id, None) for batch in batches),
    ]


def test_before_the_database_is_migrated_clients_are_asked_to_try_again(bench: WorkerBench) -> None:
    alice, _ = bench.person("alice")
    batch = bench.batch([bench.send(alice, "bob", "hello"), bench.event(alice, "list_chats", {})])
    empty = make_engine(bench.engine.url.render_as_string(hide_password=False), schema="not_there")
    BatchProcessor(empty, bench.publisher, bench.context).process([batch])
    empty.dispose()
    (entry,) = bench.read().entries
    assert (entry.batch_id, entry.retry, entry.answers) == (batch.id, ErrorCode.UNAVAILABLE, [])
    assert bench.rows("SELECT FROM dead_letters WHERE user_id = :id", id=alice) == []


def test_an_event_that_waits_too_long_for_a_lock_is_answered_unavailable(bench: WorkerBench) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    chat_id = bench.open_chat(alice, bob)
    blocked = bench.send(alice, bob, "waits")

    def be_impatient(conn: Connection) -> None:
        conn.exec_driver_sql("SET LOCAL statement_timeout = 200")

    with bench.engine.connect() as blocker, blocker.begin():
        blocker.exec_driver_sql("SELECT 1 FROM chats WHERE id = %s FOR UPDATE", (chat_id,))
        with listening(bench.worker_engine, "begin", be_impatient):
            bench.processor.process([bench.batch([blocked])])
    assert bench.read().failure(blocked).code is ErrorCode.UNAVAILABLE


class SlowSends:
    """Makes sends of some texts run into the time-out of statements; `took_s` passes with each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slow: Collection[str], took_s: float = 0) -> None:
        self.tries: list[int] = []
        """How many sends were tried together."""
        self._slow = frozenset(slow)
        self._took_s = took_s
        self._now = monotonic()
        monkeypatch.setattr(module, "monotonic", lambda: self._now)
        replace_handler(monkeypatch, "send_message", self._send)

    def _send(
        self, conn: Connection, requests: Sequence[Request[SendMessage]], context: HandlerContext
    ) -> Outcome:
        self.tries.append(len(requests))
        if any(request.command.text in self._slow for request in requests):
            self._now += self._took_s
            conn.exec_driver_sql("SELECT set_config('statement_timeout', '50', false)")
            conn.exec_driver_sql("SELECT pg_sleep(60)")
        return send_messages(conn, requests, context)


def test_a_statement_that_takes_too_long_costs_its_event_alone(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    SlowSends(monkeypatch, ["slow"])
    (alice, _), (_, bob) = bench.people("alice", "bob")
    events = send_many(bench, alice, bob, 20, 7, "slow")
    reply = bench.ask(*events)
    assert reply.failure(events[7]).code is ErrorCode.UNAVAILABLE
    acks = [reply.ack(event) for event in events if event is not events[7]]
    assert sorted(ack["message"]["seq"] for ack in acks) == list(range(1, 20))


def test_a_batch_that_timed_out_is_answered_when_its_clients_wait_no_longer(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sends = SlowSends(monkeypatch, [f"harmless {n}" for n in range(64)], took_s=module._GIVE_UP_S * 0.6)
    (alice, _), (_, bob) = bench.people("alice", "bob")
    events = send_many(bench, alice, bob, 64, 0, "harmless 0")
    reply = bench.ask(*events)
    assert {reply.failure(event).code for event in events} == {ErrorCode.UNAVAILABLE}
    assert bench.rows("SELECT FROM dead_letters WHERE user_id = :id", id=alice) == []
    # Without an end, each of the 64 events would be tried alone.
    assert sends.tries == [64, 32]


def test_the_search_for_what_takes_too_long_is_quick(bench: WorkerBench) -> None:
    impatient = replace(bench.context, patient=False)
    with bench.processor._connect((), impatient) as conn:
        assert conn.execute(text("SHOW statement_timeout")).scalar_one() == "1s"


def test_an_unknown_event_in_a_batch_fails_alone(bench: WorkerBench) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    strange, plain = bench.event(alice, "dance", {}), bench.send(alice, bob, "hello")
    reply = bench.ask(strange, plain)
    assert reply.failure(strange).code is ErrorCode.UNKNOWN_EVENT
    assert reply.ack(plain)["success"]


def test_a_payload_nested_too_deep_to_decode_fails_alone(bench: WorkerBench) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    deep = replace_payload(bench.send(alice, bob, "x"), b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}")
    plain = bench.send(alice, bob, "hello")
    reply = bench.ask(deep, plain)
    assert reply.failure(deep).code is ErrorCode.INVALID_PAYLOAD
    assert reply.ack(plain)["success"]


@pytest.mark.parametrize("field", ["username", "text", "clientId"])
def test_bytes_that_are_not_unicode_fail_alone(bench: WorkerBench, field: str) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    sent = msgspec.json.encode({"username": bob, "text": "x", "clientId": "y", field: "?"})
    broken = bench.event(alice, "send_message", sent.replace(b"?", b"\xff"))
    plain = bench.send(alice, bob, "hello")
    reply = bench.ask(broken, plain)
    assert reply.failure(broken).code is ErrorCode.INVALID_PAYLOAD
    assert reply.ack(plain)["success"]
    assert bench.rows("SELECT 1 FROM dead_letters WHERE id = :id", id=uuid.UUID(broken.id)) == []


def replace_payload(event: Event, payload: bytes) -> Event:
    return msgspec.structs.replace(event, payload=msgspec.Raw(payload))


def test_a_user_without_a_profile_is_told_so(bench: WorkerBench) -> None:
    _, bob = bench.person("bob")
    event = bench.send(uuid.uuid4(), bob, "hello")
    assert bench.ask(event).failure(event).code is ErrorCode.PROFILE_MISSING


def test_emits_go_to_every_live_edge_of_the_user_and_to_no_other(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    for edge_id in ("near", "far", "empty"):
        bench.open_edge(f"{bench.edge_id}-{edge_id}")
    bench.connect(bob, f"{bench.edge_id}-near")
    bench.connect(bob, f"{bench.edge_id}-far")
    bench.ask(bench.send(alice, bobs_name, "hello"))
    got = {
        edge: len(bench.read(f"{bench.edge_id}-{edge}").emitted("new_message", bob))
        for edge in ("near", "far", "empty")
    }
    assert got == {"near": 1, "far": 1, "empty": 0}


def test_an_edge_without_a_lease_is_ignored(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bench.open_edge(f"{bench.edge_id}-dead", lease_ms=-1)
    bench.connect(bob, f"{bench.edge_id}-dead")
    bench.ask(bench.send(alice, bobs_name, "hello"))
    assert bench.read(f"{bench.edge_id}-dead").entries == []
    assert bench.context.presence.online({str(bob)}) == frozenset()


def test_a_big_outcome_is_cut_into_entries_and_the_first_closes_the_batch(bench: WorkerBench) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    bench.connect(alice)
    events = [bench.send(alice, bob, "x" * 4_000) for _ in range(200)]
    batch = bench.batch(events)
    bench.processor.process([batch])
    entries = bench.read().entries
    assert len(entries) > 1
    assert [entry.batch_id for entry in entries] == [batch.id] + [None] * (len(entries) - 1)
    assert len(Reply(entries).answers) == 200


def test_a_small_batch_is_answered_and_emitted_in_one_entry(bench: WorkerBench) -> None:
    (alice, _), (bob_id, bob) = bench.people("alice", "bob")
    bench.connect(bob_id)
    bench.processor.process([batch := bench.batch([bench.send(alice, bob, "hello") for _ in range(3)])])
    (entry,) = bench.read().entries
    assert (entry.batch_id, len(list(entry.all_answers()))) == (batch.id, 3)
    assert len(Reply([entry]).emitted("new_message", bob_id)) == 3


def test_a_large_batch_is_closed_before_its_emits_and_their_answers_come(bench: WorkerBench) -> None:
    (alice, _), (bob_id, bob) = bench.people("alice", "bob")
    bench.connect(bob_id)
    bench.processor.process([batch := bench.batch([bench.send(alice, bob, "hello") for _ in range(60)])])
    first, *others = bench.read().entries
    assert (first.batch_id, first.answers, first.emits) == (batch.id, [], [])
    assert sum(len(list(entry.all_answers())) for entry in others) == 60
    assert len(Reply(others).emitted("new_message", bob_id)) == 60


def test_many_pages_are_published_one_after_another_and_then_the_batch_is_closed(bench: WorkerBench) -> None:
    (alice, _), (_, bob) = bench.people("alice", "bob")
    chat_id = bench.open_chat(alice, bob)
    reads = [bench.event(alice, "get_messages", {"chatId": chat_id}) for _ in range(250)]
    late = bench.send(alice, bob, "after them")
    batch = bench.batch([*reads, late])
    bench.processor.process([batch])
    reply = bench.read()
    assert [len(reply.ack(read)["messages"]) for read in reads] == [1] * 240 + [2] * 10
    assert reply.ack(late)["message"]["seq"] == 2
    *earlier, last = [entry.batch_id for entry in reply.entries]
    assert (set(earlier), last) == ({None}, batch.id)


def test_a_batch_without_events_is_closed(bench: WorkerBench) -> None:
    batch = bench.batch([])
    bench.processor.process([batch])
    assert [entry.batch_id for entry in bench.read().entries] == [batch.id]
