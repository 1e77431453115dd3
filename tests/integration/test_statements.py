"""The cost of a batch in statements and round trips does not depend on how many events it has."""

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
from psycopg import Cursor
from redis import Redis
from redis.connection import Connection, ConnectionPool
from sqlalchemy import text

import workers
from infra.wire.batch import Event
from infra.wire.hook import Accept, Change, HookMessage, Refuse, Result
from infra.wire.webhooks import EVENTS
from tests.harness.buffers import start_counting
from tests.harness.engines import Store
from tests.harness.worker_bench import Reply, WorkerBench
from tests.integration.conftest import NEVER_S, BenchFactory
from workers import deleted_users
from workers.screening import Screen

SIZES = (1, 10, 200)

Person = tuple[uuid.UUID, str]
Scenario = Callable[[WorkerBench, int], list[Event]]


@dataclass
class Cost:
    """What one batch has cost, counted by the client library and by the server."""

    sent: int = 0
    statements: list[str] = field(default_factory=list)
    calls: int = 0
    executemany: bool = False


_CALLS = text(
    """
    SELECT coalesce(sum(calls), 0) FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND toplevel AND query NOT LIKE '%pg_stat_statements%' AND query NOT LIKE 'DEALLOCATE%'
    """
)


@pytest.fixture(autouse=True)
def _deleted_users_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleted_users, "_REFRESH_S", float("inf"))


@contextmanager
def counted(bench: WorkerBench) -> Iterator[Cost]:
    cost = Cost()

    # What a worker reads now and then, however many batches there are, it reads before.
    bench.ask(bench.event(uuid.uuid4(), "list_chats", {}))
    with bench.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as onlooker:
        start_counting(bench)
        before = onlooker.execute(_CALLS).scalar_one()
        with _noting(cost):
            yield cost
        cost.sent = len(cost.statements)
        cost.calls = onlooker.execute(_CALLS).scalar_one() - before


@contextmanager
def _noting(cost: Cost) -> Iterator[None]:
    """Note what psycopg is asked for, whether by SQLAlchemy or past it."""
    execute, executemany = Cursor.execute, Cursor.executemany

    def note(cursor: Any, statement: Any, *args: Any, **options: Any) -> Any:
        cost.statements.append(str(statement))
        return execute(cursor, statement, *args, **options)

    def note_many(*args: Any, **options: Any) -> None:
        cost.executemany = True
        executemany(*args, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Cursor, "execute", note)
        patched.setattr(Cursor, "executemany", note_many)
        yield


def pairs(bench: WorkerBench, count: int) -> list[tuple[Person, Person]]:
    """Pairs of people that have exchanged a message each way."""
    people = bench.people(*(f"p{n}" for n in range(2 * count)))
    made = list(zip(people[::2], people[1::2], strict=True))
    bench.ask(*(bench.send(a[0], b[1], "hello") for a, b in made))
    bench.ask(*(bench.send(b[0], a[1], "hello yourself") for a, b in made))
    return made


def chats(bench: WorkerBench, made: list[tuple[Person, Person]]) -> list[str]:
    opened = [bench.event(a[0], "join_chat", {"username": b[1]}) for a, b in made]
    reply: Reply = bench.ask(*opened)
    return [reply.ack(event)["chatId"] for event in opened]


def sends_in_known_chats(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.send(a[0], b[1], "again") for a, b in pairs(bench, size)]


def sends_in_new_chats(bench: WorkerBench, size: int) -> list[Event]:
    people = bench.people(*(f"p{n}" for n in range(2 * size)))
    return [bench.send(a[0], b[1], "first") for a, b in zip(people[::2], people[1::2], strict=True)]


def sends_of_one_person(bench: WorkerBench, size: int) -> list[Event]:
    ((alice, bob),) = pairs(bench, 1)
    return [bench.send(alice[0], bob[1], f"{n}") for n in range(size)]


def sends_with_some_bad(bench: WorkerBench, size: int) -> list[Event]:
    good = sends_in_known_chats(bench, size)
    return [*good, *(bench.send(uuid.UUID(event.user_id), "nobody", "x") for event in good)]


def replies(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.send(a[0], b[1], "reply", replyTo=1) for a, b in pairs(bench, size)]


def sends_with_data(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.send(a[0], b[1], "", data={"a": 1}) for a, b in pairs(bench, size)]


def sends_by_id(bench: WorkerBench, size: int) -> list[Event]:
    return [
        bench.event(a[0], "send_message", {"userId": str(b[0]), "text": "again"})
        for a, b in pairs(bench, size)
    ]


def said_in_known_chats(bench: WorkerBench, size: int) -> list[Event]:
    return [_saying(bench, a, b) for a, b in pairs(bench, size)]


def said_in_new_chats(bench: WorkerBench, size: int) -> list[Event]:
    people = bench.people(*(f"p{n}" for n in range(2 * size)))
    return [_saying(bench, a, b) for a, b in zip(people[::2], people[1::2], strict=True)]


def said_between_sends(bench: WorkerBench, size: int) -> list[Event]:
    made = pairs(bench, size)
    return [event for a, b in made for event in (bench.send(a[0], b[1], "look"), _saying(bench, a, b))]


def _saying(bench: WorkerBench, a: Person, b: Person) -> Event:
    return bench.event(a[0], "send_system_message", {"userId": str(b[0]), "text": "Shipped."})


def of_first_messages(bench: WorkerBench, size: int, name: str, **payload: Any) -> list[Event]:
    made = pairs(bench, size)
    return [
        bench.event(a[0], name, {"chatId": chat_id, "seq": 1, **payload})
        for (a, _), chat_id in zip(made, chats(bench, made), strict=True)
    ]


def edits(bench: WorkerBench, size: int) -> list[Event]:
    return of_first_messages(bench, size, "edit_message", text="edited", clientId="e")


def edits_of_one_message(bench: WorkerBench, size: int) -> list[Event]:
    (first,) = edits(bench, 1)
    chat_id = msgspec.json.decode(first.payload)["chatId"]
    return [
        bench.event(
            uuid.UUID(first.user_id), "edit_message", {"chatId": chat_id, "seq": 1, "text": f"edit {n}"}
        )
        for n in range(size)
    ]


def unsendings(bench: WorkerBench, size: int) -> list[Event]:
    return of_first_messages(bench, size, "unsend_message")


def reactions(bench: WorkerBench, size: int) -> list[Event]:
    return of_first_messages(bench, size, "react", emoji="\U0001f44d", on=True)


def clearings(bench: WorkerBench, size: int) -> list[Event]:
    return of_first_messages(bench, size, "clear_chat")


def reports(bench: WorkerBench, size: int) -> list[Event]:
    bench.rows("TRUNCATE reports")
    made = pairs(bench, size)
    return [
        bench.event(a[0], "report", {"chatId": chat_id, "seq": 2, "reason": "spam"})
        for (a, _), chat_id in zip(made, chats(bench, made), strict=True)
    ]


def reports_again(bench: WorkerBench, size: int) -> list[Event]:
    first = reports(bench, size)
    bench.ask(*first)
    return [bench.event(uuid.UUID(one.user_id), one.name, bytes(one.payload)) for one in first]


def syncs_of_changes(bench: WorkerBench, size: int) -> list[Event]:
    changes = edits(bench, size)
    bench.ask(*changes)
    return [
        bench.event(
            uuid.UUID(one.user_id),
            "sync",
            {"cursors": {msgspec.json.decode(one.payload)["chatId"]: {"seq": 1}}, "only": True},
        )
        for one in changes
    ]


def receipts(bench: WorkerBench, size: int) -> list[Event]:
    made = pairs(bench, size)
    return [
        bench.event(b[0], "confirm_delivery", {"chatId": chat_id, "spans": [[1, 1]]})
        for (_, b), chat_id in zip(made, chats(bench, made), strict=True)
    ]


def receipts_behind_a_hole(bench: WorkerBench, size: int) -> list[Event]:
    made = pairs(bench, size)
    bench.ask(*(bench.send(a[0], b[1], "third") for a, b in made))
    return [
        bench.event(b[0], "confirm_delivery", {"chatId": chat_id, "spans": [[3, 3]]})
        for (_, b), chat_id in zip(made, chats(bench, made), strict=True)
    ]


def reads(bench: WorkerBench, size: int) -> list[Event]:
    made = pairs(bench, size)
    return [
        bench.event(b[0], "mark_as_read", {"chatId": chat_id})
        for (_, b), chat_id in zip(made, chats(bench, made), strict=True)
    ]


def joins_of_known_chats(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "join_chat", {"username": b[1]}) for a, b in pairs(bench, size)]


def joins_of_new_chats(bench: WorkerBench, size: int) -> list[Event]:
    people = bench.people(*(f"p{n}" for n in range(2 * size)))
    return [
        bench.event(a[0], "join_chat", {"username": b[1]})
        for a, b in zip(people[::2], people[1::2], strict=True)
    ]


def pages_of_history(bench: WorkerBench, size: int) -> list[Event]:
    made = pairs(bench, size)
    return [
        bench.event(b[0], "get_messages", {"chatId": chat_id})
        for (_, b), chat_id in zip(made, chats(bench, made), strict=True)
    ]


def lists_of_chats(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "list_chats", {}) for a, _ in pairs(bench, size)]


def syncs(bench: WorkerBench, size: int) -> list[Event]:
    made = pairs(bench, size)
    return [
        bench.event(a[0], "sync", {"cursors": {chat_id: 1}})
        for (a, _), chat_id in zip(made, chats(bench, made), strict=True)
    ]


def syncs_of_these_chats_only(bench: WorkerBench, size: int) -> list[Event]:
    made = pairs(bench, size)
    return [
        bench.event(a[0], "sync", {"cursors": {chat_id: 1}, "only": True})
        for (a, _), chat_id in zip(made, chats(bench, made), strict=True)
    ]


def lists_of_what_has_changed(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "list_chats", {"since": None}) for a, _ in pairs(bench, size)]


def catch_ups(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "catch_up", {"username": a[1]}) for a, _ in pairs(bench, size)]


def catch_ups_of_newcomers(bench: WorkerBench, size: int) -> list[Event]:
    return [
        bench.event(uuid.uuid4(), "catch_up", {"username": f"new_{bench.edge_id}_{size}_{n}"})
        for n in range(size)
    ]


def introductions(bench: WorkerBench, size: int) -> list[Event]:
    return [
        bench.event(uuid.uuid4(), "introduce", {"username": f"hello_{bench.edge_id}_{size}_{n}"})
        for n in range(size)
    ]


def announcements(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "announce", {}) for a, _ in pairs(bench, size)]


def wanting_requests(bench: WorkerBench, size: int) -> list[tuple[Person, Person]]:
    """Pairs of strangers, of whom the second ones want to be asked."""
    people = bench.people(*(f"p{n}" for n in range(2 * size)))
    made = list(zip(people[::2], people[1::2], strict=True))
    bench.ask(*(bench.event(b[0], "update_settings", {"messagesFrom": "requests"}) for _, b in made))
    return made


def requests(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.send(a[0], b[1], "may I?") for a, b in wanting_requests(bench, size)]


def answers_to_requests(bench: WorkerBench, size: int) -> list[Event]:
    made = wanting_requests(bench, size)
    bench.ask(*(bench.send(a[0], b[1], "may I?") for a, b in made))
    return [bench.send(b[0], a[1], "of course") for a, b in made]


def acceptances(bench: WorkerBench, size: int) -> list[Event]:
    made = wanting_requests(bench, size)
    sent = [bench.send(a[0], b[1], "may I?") for a, b in made]
    reply = bench.ask(*sent)
    chat_ids = [reply.ack(event)["message"]["chatId"] for event in sent]
    return [
        bench.event(b[0], "accept_chat", {"chatId": chat_id})
        for (_, b), chat_id in zip(made, chat_ids, strict=True)
    ]


def blocks(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "block_user", {"username": b[1]}) for a, b in pairs(bench, size)]


def sends_of_the_blocked(bench: WorkerBench, size: int) -> list[Event]:
    made = pairs(bench, size)
    bench.ask(*(bench.event(a[0], "block_user", {"username": b[1]}) for a, b in made))
    return [bench.send(b[0], a[1], "hello?") for a, b in made]


def lists_of_the_blocked(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(uuid.UUID(one.user_id), "list_blocked", {}) for one in blocks(bench, size)]


def mutes_of_pinned_chats(bench: WorkerBench, size: int) -> list[Event]:
    made = pairs(bench, size)
    changed = {"pinned": True, "mutedUntil": "2100-01-01T00:00:00Z"}
    return [
        bench.event(a[0], "set_chat", {"chatId": chat_id, **changed})
        for (a, _), chat_id in zip(made, chats(bench, made), strict=True)
    ]


def changes_of_settings(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "update_settings", {"showPresence": "nobody"}) for a, _ in pairs(bench, size)]


def settings(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "get_settings", {}) for a, _ in pairs(bench, size)]


def inboxes(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "list_chats", {"box": "inbox"}) for a, _ in pairs(bench, size)]


def of_many_kinds(bench: WorkerBench, size: int) -> list[Event]:
    """Requests about chats, each kind in chats of its own: they are locked together."""
    kinds = (sends_in_known_chats, edits, joins_of_known_chats, reads, said_in_known_chats)
    return [event for kind in kinds for event in kind(bench, size)]


def typings(bench: WorkerBench, size: int) -> list[Event]:
    return [bench.event(a[0], "typing", {"username": b[1], "isTyping": True}) for a, b in pairs(bench, size)]


SCENARIOS = (
    sends_in_known_chats,
    sends_in_new_chats,
    sends_of_one_person,
    sends_with_some_bad,
    replies,
    sends_with_data,
    sends_by_id,
    edits,
    edits_of_one_message,
    unsendings,
    reactions,
    clearings,
    reports,
    reports_again,
    receipts,
    receipts_behind_a_hole,
    reads,
    said_in_known_chats,
    said_in_new_chats,
    said_between_sends,
    joins_of_known_chats,
    joins_of_new_chats,
    pages_of_history,
    lists_of_chats,
    syncs,
    syncs_of_these_chats_only,
    syncs_of_changes,
    lists_of_what_has_changed,
    catch_ups,
    catch_ups_of_newcomers,
    introductions,
    announcements,
    requests,
    answers_to_requests,
    acceptances,
    blocks,
    sends_of_the_blocked,
    lists_of_the_blocked,
    mutes_of_pinned_chats,
    changes_of_settings,
    settings,
    inboxes,
    of_many_kinds,
    typings,
)


class CountingConnection(Connection):
    """Counts what leaves for Redis, each time once, however many commands it holds."""

    writes = 0

    def send_packed_command(self, command: Any, check_health: bool = True) -> Any:
        type(self).writes += 1
        return super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def counting_bench(bench_store: Store) -> Iterator[WorkerBench]:
    redis = Redis(
        connection_pool=ConnectionPool.from_url(bench_store.redis_url, connection_class=CountingConnection)
    )
    bench = WorkerBench(bench_store, redis=redis, sweep_after_s=NEVER_S)
    # The first call of a script takes more round trips: Redis does not know it yet.
    bench.context.presence.online({str(uuid.uuid4())})
    yield bench
    bench.close()
    redis.close()


@contextmanager
def counted_round_trips(bench: WorkerBench, events: list[Event]) -> Iterator[list[int]]:
    """Count the round trips to Redis inside the block. The users of the events hear of what happens."""
    for user_id in {event.user_id for event in events}:
        bench.connect(uuid.UUID(user_id))
    before = CountingConnection.writes
    trips = [0]
    yield trips
    trips[0] = CountingConnection.writes - before


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Count the lines that the workers' code runs, each turn of a loop anew: its work, free of the clock."""
    steps = [0]

    def enter(frame: FrameType, _: str, __: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_WORKERS):
            return None
        return step

    def step(_: FrameType, what: str, __: Any) -> Any:
        steps[0] += what == "line"
        return step

    tracing = sys.gettrace()
    sys.settrace(enter)
    try:
        yield steps
    finally:
        sys.settrace(tracing)


_WORKERS = str(Path(workers.__file__).parent)


@dataclass(frozen=True)
class Costs:
    """All that one batch has cost."""

    database: Cost
    scanned: set[str]
    """The tables that were read from end to end."""
    round_trips: int
    steps: int


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda scenario: scenario.__name__)
def costs(request: pytest.FixtureRequest, counting_bench: WorkerBench) -> dict[int, Costs]:
    """What batches of a kind cost, by their size. Most of the time goes into what is there before them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(deleted_users, "_REFRESH_S", float("inf"))
        return {size: _costs(counting_bench, request.param(counting_bench, size)) for size in SIZES}


def _costs(bench: WorkerBench, events: list[Event]) -> Costs:
    batch = bench.batch(events)
    scans = _scans(bench)
    with (
        counted(bench) as cost,
        counted_round_trips(bench, events) as trips,
        counted_steps() as steps,
    ):
        bench.processor.process([batch])
    answers = bench.read().answers
    assert all(event.id in answers for event in events)
    scanned = {table for table, count in _scans(bench).items() if count != scans[table]}
    return Costs(cost, scanned, trips[0], steps[0])


def _scans(bench: WorkerBench) -> dict[str, int]:
    """Return how often each table has been read from end to end."""
    for engine in (bench.worker_engine, bench.engine):
        with engine.begin() as conn:
            conn.execute(text("SELECT pg_stat_force_next_flush()"))
    with bench.engine.begin() as conn:
        rows = conn.execute(text("SELECT relname, seq_scan FROM pg_stat_user_tables"))
        return dict(tuple(row) for row in rows)


def test_statements_do_not_grow_with_the_batch(costs: dict[int, Costs]) -> None:
    found = {size: (cost.database.sent, cost.database.calls) for size, cost in costs.items()}
    assert len(set(found.values())) == 1, f"statements sent and run, by size of the batch: {found}"
    assert not any(cost.database.executemany for cost in costs.values())


def test_no_batch_reads_a_whole_table_though_it_was_planned_while_all_were_empty(
    costs: dict[int, Costs],
) -> None:
    assert not any(cost.scanned for cost in costs.values())


def test_the_work_of_a_batch_grows_no_faster_than_the_batch(costs: dict[int, Costs]) -> None:
    _, small, large = SIZES
    assert costs[small].steps > small
    assert costs[large].steps < 1.5 * large / small * costs[small].steps


def test_round_trips_to_redis_do_not_grow_with_the_batch(costs: dict[int, Costs]) -> None:
    trips = {size: cost.round_trips for size, cost in costs.items()}
    assert len(set(trips.values())) == 1, f"round trips by size of the batch: {trips}"
    assert max(trips.values()) <= 2


def test_the_server_counts_what_the_client_counts_and_the_transaction_around_it(
    unswept_bench: WorkerBench,
) -> None:
    batch = unswept_bench.batch(reads(unswept_bench, 10))
    with counted(unswept_bench) as cost:
        unswept_bench.processor.process([batch])
    assert cost.calls == cost.sent + len(("BEGIN", "COMMIT"))


@pytest.mark.parametrize(
    "scenario",
    [sends_in_known_chats, sends_with_data, sends_by_id, said_in_known_chats, receipts],
    ids=lambda scenario: scenario.__name__,
)
def test_the_commonest_batches_are_one_statement_without_a_transaction(
    unswept_bench: WorkerBench, scenario: Scenario
) -> None:
    batch = unswept_bench.batch(scenario(unswept_bench, 200))
    with counted(unswept_bench) as cost:
        unswept_bench.processor.process([batch])
    assert (cost.sent, cost.calls) == (1, 1), "\n".join(cost.statements)


@pytest.mark.parametrize("scenario", [sends_in_known_chats, receipts], ids=lambda scenario: scenario.__name__)
def test_they_are_so_too_where_the_backend_hears_of_them(
    make_bench: BenchFactory, scenario: Scenario
) -> None:
    bench = make_bench(sweep_after_s=NEVER_S, webhooks=dict.fromkeys(EVENTS, ("app",)))
    batch = bench.batch(scenario(bench, 200))
    with counted(bench) as cost:
        bench.processor.process([batch])
    assert (cost.sent, cost.calls) == (1, 1), "\n".join(cost.statements)


@pytest.mark.parametrize(
    ("scenario", "result", "sent"),
    [
        (sends_in_known_chats, Accept(), 1 + 2),
        (sends_in_known_chats, Change(text="changed"), 1 + 2),
        (sends_in_known_chats, Refuse(), 4 + 2),
        (receipts, Accept(), 1),
    ],
    ids=["accepted", "changed", "refused", "receipts"],
)
def test_a_hook_costs_one_request_and_two_statements_however_many_messages_there_are(
    make_bench: BenchFactory, scenario: Scenario, result: Result, sent: int
) -> None:
    hook = _SameResult(result)
    asking = scenario is not receipts
    for size in SIZES:
        bench = make_bench(sweep_after_s=NEVER_S, screen=Screen(hook, fails_open=False))
        hook.result = Accept()
        batch = bench.batch(scenario(bench, size))
        hook.result, hook.asked = result, []
        with counted(bench) as cost:
            bench.processor.process([batch])
        assert cost.sent == sent, "\n".join(cost.statements)
        assert hook.asked == [size] * asking


class _SameResult:
    """A hook that says the same of each message."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.asked: list[int] = []

    def ask(self, messages: Sequence[HookMessage]) -> list[Result | None]:
        self.asked.append(len(messages))
        return [self.result for _ in messages]


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_of_sends_costs_one_round_trip_to_look_up_presence_and_publish(
    counting_bench: WorkerBench, size: int
) -> None:
    events = sends_in_known_chats(counting_bench, size)
    with counted_round_trips(counting_bench, events) as trips:
        counting_bench.processor.process([counting_bench.batch(events)])
    assert trips == [1]


def test_publication_costs_one_round_trip_however_many_edges_there_are(counting_bench: WorkerBench) -> None:
    bench = counting_bench
    made = pairs(bench, 40)
    for number, (_, bob) in enumerate(made):
        bench.open_edge(f"{bench.edge_id}-{number}")
        bench.connect(bob[0], f"{bench.edge_id}-{number}")
    events = [bench.send(a[0], b[1], "x") for a, b in made]
    with counted_round_trips(bench, events) as trips:
        bench.processor.process([bench.batch(events)])
    assert trips == [1]
