"""Requests for locked rows fail alone, soon and retryably, and nobody keeps a lock forever."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from infra.store import engine as engine_module
from infra.store.boxes import Box
from infra.store.engine import TIMEOUTS_MS, make_engine
from infra.wire import registry
from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from infra.wire.hook import Accept, HookMessage, Refuse, Result
from tests.harness.interruption import Interrupted, interrupted
from tests.harness.waiting import eventually
from tests.harness.worker_bench import Reply, WorkerBench, replace_handler
from tests.integration.conftest import BenchFactory
from workers import batch_processor
from workers.batch_processor import BatchProcessor
from workers.context import HandlerContext
from workers.handler_table import HANDLERS
from workers.metrics import LOCK_WAITS
from workers.outcome import Outcome
from workers.requests import Request
from workers.screening import Screen

SOON_S = 7.0
"""Less than a statement may take, and far less than one wait for each of many locks."""

LOCK_CHAT = "SELECT 1 FROM chats WHERE id = :chat FOR UPDATE"
CHANGE_CHAT = "UPDATE chats SET last_seq = last_seq WHERE id = :chat"
CHANGE_CHATS = "UPDATE chats SET last_seq = last_seq WHERE id = ANY(CAST(:chats AS uuid[]))"
LOCK_MEMBER = "SELECT 1 FROM chat_members WHERE chat_id = :chat AND user_id = :user FOR UPDATE"
CHANGE_MEMBER = "UPDATE chat_members SET read_seq = read_seq WHERE chat_id = :chat AND user_id = :user"
WAITING = """
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
INSERT_CHAT = "INSERT INTO chats (id, user_lo, user_hi) VALUES (:id, :lo, :hi)"


@dataclass(frozen=True)
class Talk:
    """A chat in which alice has sent bob one message."""

    chat_id: str
    alice: uuid.UUID
    bob: uuid.UUID
    alices_name: str
    bobs_name: str


def talks(bench: WorkerBench, count: int) -> list[Talk]:
    people = bench.people(*(f"p{n}" for n in range(2 * count)))
    pairs = list(zip(people[::2], people[1::2], strict=True))
    sends = [bench.send(alice, bobs_name, "hello") for (alice, _), (_, bobs_name) in pairs]
    reply = bench.ask(*sends)
    return [
        Talk(reply.ack(send)["message"]["chatId"], alice, bob, alices_name, bobs_name)
        for send, ((alice, alices_name), (bob, bobs_name)) in zip(sends, pairs, strict=True)
    ]


def url(bench: WorkerBench) -> str:
    return bench.engine.url.render_as_string(hide_password=False)


def wait_until_ended(bench: WorkerBench, conn: Connection) -> None:
    """Do nothing in a transaction until Postgres has ended the session."""
    pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
    sessions = "SELECT 1 FROM pg_stat_activity WHERE pid = :pid"
    eventually(lambda: not bench.rows(sessions, pid=pid), "Postgres ends the idle session")


@contextmanager
def held(bench: WorkerBench, sql: str, **params: Any) -> Iterator[None]:
    """Keep what a statement locks, as somebody without timeouts does."""
    engine = make_engine(url(bench), timeouts=False)
    try:
        with engine.connect() as conn, conn.begin() as transaction:
            conn.execute(text(sql), params)
            yield
            transaction.rollback()
    finally:
        engine.dispose()


def ask_soon(bench: WorkerBench, *events: Event) -> Reply:
    started = monotonic()
    reply = bench.ask(*events)
    assert monotonic() - started < SOON_S
    return reply


@pytest.mark.parametrize("sql", [LOCK_CHAT, CHANGE_CHAT])
def test_a_send_to_a_locked_chat_fails_alone_and_soon(bench: WorkerBench, sql: str) -> None:
    locked, free = talks(bench, 2)
    stranger, _ = bench.person("stranger")
    blocked = bench.send(locked.alice, locked.bobs_name, "blocked", clientId="hers")
    others = [
        bench.send(free.alice, free.bobs_name, "in a chat that is free"),
        bench.send(stranger, locked.bobs_name, "in a chat that is new"),
    ]
    with held(bench, sql, chat=locked.chat_id):
        reply = ask_soon(bench, blocked, *others)
    failure = reply.failure(blocked)
    assert (failure.code, failure.code.retryable, failure.client_id) == (ErrorCode.UNAVAILABLE, True, "hers")
    assert [reply.ack(other)["message"]["seq"] for other in others] == [2, 1]
    assert bench.ask(blocked).ack(blocked)["message"]["seq"] == 2


def test_an_exception_while_a_worker_waits_neither_loses_nor_doubles_a_message(bench: WorkerBench) -> None:
    (talk,) = talks(bench, 1)
    batch = bench.batch([bench.send(talk.alice, talk.bobs_name, "interrupted")])
    with held(bench, CHANGE_CHAT, chat=talk.chat_id), interrupted(Interrupted()):
        bench.processor.process([batch])
    assert [entry.retry for entry in bench.read().entries] == [ErrorCode.UNAVAILABLE]
    bench.processor.process([batch])
    assert bench.read().ack(batch.events[0])["message"]["seq"] == 2
    assert bench.seqs(talk.chat_id) == [1, 2]


def test_a_send_to_a_chat_that_somebody_is_creating_fails_alone_and_soon(bench: WorkerBench) -> None:
    (free,) = talks(bench, 1)
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    blocked = bench.send(alice, bobs_name, "blocked")
    others = [bench.send(free.alice, free.bobs_name, f"{n}") for n in range(100)]
    with held(bench, INSERT_CHAT, id=uuid.uuid4(), lo=min(alice, bob), hi=max(alice, bob)):
        reply = ask_soon(bench, *others[:50], blocked, *others[50:])
    assert reply.failure(blocked).code is ErrorCode.UNAVAILABLE
    assert [reply.ack(other)["message"]["seq"] for other in others] == [*range(2, 102)]
    assert bench.ask(blocked).ack(blocked)["message"]["seq"] == 1


def test_many_locked_chats_cost_a_batch_one_wait(bench: WorkerBench) -> None:
    made = talks(bench, 100)
    sends = [bench.send(talk.alice, talk.bobs_name, "again") for talk in made]
    locked = [talk.chat_id for talk in made[::2]]
    with held(bench, CHANGE_CHATS, chats=locked):
        reply = ask_soon(bench, *sends)
    assert {reply.failure(send).code for send in sends[::2]} == {ErrorCode.UNAVAILABLE}
    assert all(reply.ack(send)["success"] for send in sends[1::2])


def test_a_batch_after_one_that_timed_out_on_a_lock_waits_less(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []

    def look(conn: Connection, requests: Sequence[Request[Any]], context: HandlerContext) -> Outcome:
        waits.append(conn.execute(_SETTING, {"name": "lock_timeout"}).scalar_one())
        return Outcome()

    replace_handler(monkeypatch, "typing", look)
    (talk,) = talks(bench, 1)
    engine = make_engine(url(bench), for_batches=True)
    processor = BatchProcessor(engine, bench.publisher, bench.context)

    def ask_for_wait() -> None:
        processor.process(
            [bench.batch([bench.event(talk.alice, "typing", {"chatId": talk.chat_id, "isTyping": True})])]
        )

    ask_for_wait()
    with held(bench, LOCK_CHAT, chat=talk.chat_id):
        processor.process([bench.batch([bench.send(talk.alice, talk.bobs_name, "blocked")])])
    ask_for_wait()
    monkeypatch.setattr(batch_processor, "monotonic", lambda: monotonic() + batch_processor._HURRY_S)
    ask_for_wait()
    engine.dispose()
    assert waits == ["500", "50", "500"]


def marks(bench: WorkerBench, talk: Talk) -> Event:
    return bench.event(talk.bob, "mark_as_read", {"chatId": talk.chat_id})


def confirms(bench: WorkerBench, talk: Talk) -> Event:
    return bench.event(talk.bob, "confirm_delivery", {"chatId": talk.chat_id, "spans": [[1, 1]]})


def joins(bench: WorkerBench, talk: Talk) -> Event:
    return bench.event(talk.bob, "join_chat", {"username": talk.alices_name})


@pytest.mark.parametrize("sql", [LOCK_MEMBER, CHANGE_MEMBER])
@pytest.mark.parametrize("made", [marks, confirms, joins])
def test_a_change_to_a_locked_member_fails_alone_and_soon(
    bench: WorkerBench, made: Callable[[WorkerBench, Talk], Event], sql: str
) -> None:
    locked, free = talks(bench, 2)
    blocked, other = made(bench, locked), made(bench, free)
    send = bench.send(locked.alice, locked.bobs_name, "sends lock no member")
    with held(bench, sql, chat=locked.chat_id, user=locked.bob):
        reply = ask_soon(bench, blocked, other, send)
    assert reply.failure(blocked).code is ErrorCode.UNAVAILABLE
    assert reply.ack(other)["success"]
    assert reply.ack(send)["message"]["seq"] == 2
    assert bench.ask(blocked).ack(blocked)["success"]


@pytest.fixture(params=["direct", "pooled"])
def new_engine(bench: WorkerBench, request: pytest.FixtureRequest) -> Iterator[Callable[[], Engine]]:
    """Return what makes an engine, of either kind."""
    engines: list[Engine] = []

    def make() -> Engine:
        engines.append(make_engine(url(bench), pooled=request.param == "pooled"))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


def test_every_transaction_has_the_timeouts(new_engine: Callable[[], Engine]) -> None:
    engine = new_engine()
    for _ in range(2):
        with engine.begin() as conn:
            found = {name: conn.execute(_SETTING, {"name": name}).scalar_one() for name in TIMEOUTS_MS}
        assert found == {name: str(value) for name, value in TIMEOUTS_MS.items()}


_SETTING = text("SELECT setting FROM pg_settings WHERE name = :name")


def test_a_session_idle_in_its_transaction_is_ended_and_releases_its_locks(
    bench: WorkerBench, new_engine: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine_module.TIMEOUTS_MS, "idle_in_transaction_session_timeout", 300)
    (talk,) = talks(bench, 1)
    send = bench.send(talk.alice, talk.bobs_name, "again")
    with new_engine().connect() as conn:
        conn.execute(text(LOCK_CHAT), {"chat": talk.chat_id})
        wait_until_ended(bench, conn)
        assert bench.ask(send).ack(send)["message"]["seq"] == 2
        with pytest.raises(DBAPIError):
            conn.execute(text("SELECT 1"))


def test_a_batch_whose_transaction_was_ended_is_requested_again(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(conn: Connection, requests: Sequence[Request[Any]], context: HandlerContext) -> Outcome:
        wait_until_ended(bench, conn)
        conn.execute(text("SELECT 1"))
        raise AssertionError("the session was to be ended")

    monkeypatch.setitem(engine_module.TIMEOUTS_MS, "idle_in_transaction_session_timeout", 200)
    replace_handler(monkeypatch, "join_chat", stopped)
    (talk,) = talks(bench, 1)
    engine = make_engine(url(bench), for_batches=True)
    batch = bench.batch(
        [
            bench.send(talk.alice, talk.bobs_name, "again"),
            bench.event(talk.alice, "join_chat", {"username": talk.bobs_name}),
        ]
    )
    BatchProcessor(engine, bench.publisher, bench.context).process([batch])
    engine.dispose()
    (entry,) = bench.read().entries
    assert (entry.batch_id, entry.retry, entry.answers) == (batch.id, ErrorCode.UNAVAILABLE, [])
    assert bench.seqs(talk.chat_id) == [1]


ABOUT_CHATS: dict[str, Callable[[Talk], dict[str, object]]] = {
    "mark_as_read": lambda talk: {"chatId": talk.chat_id},
    "clear_chat": lambda talk: {"chatId": talk.chat_id},
    "block_user": lambda talk: {"userId": str(talk.bob)},
    "unblock_user": lambda talk: {"userId": str(talk.bob)},
    "accept_chat": lambda talk: {"chatId": talk.chat_id},
    "decline_chat": lambda talk: {"chatId": talk.chat_id},
    "set_chat": lambda talk: {"chatId": talk.chat_id, "pinned": True},
    "join_chat": lambda talk: {"username": talk.bobs_name},
    "edit_message": lambda talk: {"chatId": talk.chat_id, "seq": 1, "text": "edited"},
    "unsend_message": lambda talk: {"chatId": talk.chat_id, "seq": 1},
    "react": lambda talk: {"chatId": talk.chat_id, "seq": 1, "emoji": "\N{FIRE}", "on": True},
    registry.REVISE_MESSAGE: lambda talk: {"chatId": talk.chat_id, "seq": 1, "text": "revised"},
    registry.REMOVE_MESSAGE: lambda talk: {"chatId": talk.chat_id, "seq": 1},
    "send_message": lambda talk: {"username": talk.bobs_name, "text": "again"},
    registry.SEND_SYSTEM_MESSAGE: lambda talk: {"userId": str(talk.bob), "text": "again"},
}


def test_each_command_that_locks_chats_is_tested_together_with_another() -> None:
    assert ABOUT_CHATS.keys() == {name for name, entry in HANDLERS.items() if entry.locks_chats}


PREPARED: dict[str, str] = {
    "join_chat": f"UPDATE chats SET lo_box = {Box.UNSEEN}, hi_box = {Box.UNSEEN} WHERE id = :chat",
    "unblock_user": "UPDATE profiles SET deleted_at = now() WHERE id = :bob",
}
"""What makes a command lock a chat that it does not lock otherwise, or that others do not find."""


def mixed(bench: WorkerBench, name: str, talk: Talk, other: Talk) -> list[Event]:
    """Two requests of different kinds, in different chats."""
    other_name = "react" if name == "send_message" else "send_message"
    return [
        bench.event(talk.alice, name, ABOUT_CHATS[name](talk)),
        bench.event(other.alice, other_name, ABOUT_CHATS[other_name](other)),
    ]


@pytest.mark.parametrize(
    ("name", "is_about_later"),
    [
        (name, is_later)
        for name in ABOUT_CHATS
        for is_later in (True, False)
        if is_later or name != "mark_as_read"
    ],
)
def test_while_a_batch_waits_for_a_chat_it_holds_none_that_comes_after_it(
    make_bench: BenchFactory, monkeypatch: pytest.MonkeyPatch, name: str, is_about_later: bool
) -> None:
    monkeypatch.setitem(engine_module.TIMEOUTS_MS, "lock_timeout", 60_000)
    bench = make_bench()
    earlier, later = sorted(talks(bench, 2), key=lambda talk: talk.chat_id)
    one, other = (later, earlier) if is_about_later else (earlier, later)
    if name in PREPARED:
        params = {"chat": one.chat_id, "bob": one.bob}
        bench.rows(PREPARED[name], **{key: params[key] for key in params if f":{key}" in PREPARED[name]})
    if name == registry.SEND_SYSTEM_MESSAGE:
        always_in_a_transaction(bench)
    reply = ask_while_locked(bench, mixed(bench, name, one, other), earlier, later)
    failures = [answer.failure for answer in reply.answers.values() if answer.failure]
    # There is no request to accept or to decline.
    assert [failure.code for failure in failures] == [ErrorCode.NOT_ALLOWED] * (name == "decline_chat")


def test_neither_does_a_batch_of_messages_of_which_the_hook_refuses_some(
    make_bench: BenchFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine_module.TIMEOUTS_MS, "lock_timeout", 60_000)
    bench = make_bench(screen=Screen(RefusesSome(), fails_open=False))
    always_in_a_transaction(bench)
    earlier, later = sorted(talks(bench, 2), key=lambda talk: talk.chat_id)
    refused = bench.send(later.alice, later.bobs_name, "refused")
    stored = bench.send(earlier.alice, earlier.bobs_name, "again")
    reply = ask_while_locked(bench, [refused, stored], earlier, later)
    assert reply.failure(refused).code is ErrorCode.NOT_ALLOWED
    assert reply.ack(stored)["message"]["seq"] == 2


class RefusesSome:
    """A hook that refuses messages by their text."""

    def ask(self, messages: Sequence[HookMessage]) -> list[Result | None]:
        return [Refuse() if message.text == "refused" else Accept() for message in messages]


def always_in_a_transaction(bench: WorkerBench) -> None:
    """Have the bench process batches as behind a pooler."""
    bench.processor = BatchProcessor(
        bench.worker_engine, bench.publisher, bench.context, pooled=True, screen=bench.processor._screen
    )


def ask_while_locked(bench: WorkerBench, events: list[Event], earlier: Talk, later: Talk) -> Reply:
    """Ask while the earlier chat is locked; assert that the later one is free until the batch goes on."""
    with ThreadPoolExecutor(1) as thread:
        with held(bench, CHANGE_CHAT, chat=earlier.chat_id):
            asking = thread.submit(bench.ask, *events)
            eventually(lambda: bench.rows(WAITING), "the batch waits for the chat")
            with held(bench, f"{LOCK_CHAT} NOWAIT", chat=later.chat_id):
                pass
        return asking.result()


@pytest.mark.parametrize("name", ["mark_as_read", "join_chat"])
def test_readers_of_a_locked_chat_wait_for_nobody_whatever_else_is_in_their_batch(
    bench: WorkerBench, name: str
) -> None:
    locked, free = talks(bench, 2)
    events = mixed(bench, name, locked, free)
    waits = LOCK_WAITS._value.get()
    with held(bench, CHANGE_CHAT, chat=locked.chat_id):
        reply = bench.ask(*events)
    assert [reply.ack(event)["success"] for event in events] == [True, True]
    assert LOCK_WAITS._value.get() == waits


@pytest.mark.parametrize("name", sorted(ABOUT_CHATS.keys() - {"send_message", registry.SEND_SYSTEM_MESSAGE}))
def test_nobody_waits_for_a_chat_of_others(bench: WorkerBench, name: str) -> None:
    locked, own, free = talks(bench, 3)
    asking = bench.event(own.alice, name, ABOUT_CHATS[name](locked))
    send = bench.send(free.alice, free.bobs_name, "again")
    waits = LOCK_WAITS._value.get()
    with held(bench, CHANGE_CHAT, chat=locked.chat_id):
        reply = bench.ask(asking, send)
    assert reply.ack(send)["success"]
    assert LOCK_WAITS._value.get() == waits + (name in (registry.REVISE_MESSAGE, registry.REMOVE_MESSAGE))
