"""Cleanup: what has had its day is removed, slice by slice, and nothing else."""

import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import event as sql
from sqlalchemy import text

from functions import cleanup as cleanup_module
from functions import cleanup_registry
from functions.cleanup import cleanup
from functions.context import Context, Stopwatch, Summary
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from infra.wire import names
from tests.harness.engines import Engines, Store, free_port
from tests.harness.relay import RelayBench

LONG_AGO_MS = -7_200_000
LONG_AGO_S = 7_200
NOTHING: Summary = dict.fromkeys(
    ("edges", "streams", "presence", "dead_letters", "devices", "notifications", "messages", "holds"), 0
)
AGED = {"dead_letters": 30, "devices": 180, "notifications": 15, "holds": 0}
"""After how many days the rows of each kind go."""

Clean = Callable[..., Summary]
ContextFactory = Callable[..., Context]


class NoQueue:
    def put(self, notification_ids: Collection[uuid.UUID]) -> None:
        raise AssertionError(f"cleanup notifies nobody: {notification_ids}")


@pytest.fixture(scope="module")
def bench_store(engines: Engines) -> Iterator[Store]:
    """A store of this module's own: what other tests have left would be cleaned up and counted too."""
    store = engines.new_store()
    yield store
    engines.release(store)


@pytest.fixture
def bench(make_bench: Callable[[], RelayBench]) -> RelayBench:
    bench = make_bench()
    bench.redis.flushdb()
    bench.rows("TRUNCATE profiles, dead_letters, archive_holds CASCADE")
    bench.open_edge(bench.edge_id)
    return bench


@pytest.fixture
def make_context(
    bench: RelayBench, bench_store: Store, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ContextFactory]:
    for variable in [name for name in os.environ if name.startswith("BBGRAM_")]:
        monkeypatch.delenv(variable)
    made: list[Context] = []

    def make(**options: Any) -> Context:
        addresses = {"database_url": bench_store.database_url, "redis_url": bench_store.redis_url}
        settings = FunctionSettings(**{**addresses, **options})
        made.append(Context(settings, bench.engine, NoQueue()))
        return made[-1]

    yield make
    for context in made:
        if context.settings.redis_url:
            context.redis.close()


@pytest.fixture
def clean(make_context: ContextFactory) -> Clean:
    """Return a function that runs cleanup and returns what it has counted, apart from zeros."""

    def run(*, dry_run: bool = False, run_s: float = 60.0, **options: Any) -> Summary:
        summary = cleanup(make_context(**options), Stopwatch(run_s), dry_run)
        assert summary.keys() == NOTHING.keys()
        return {kind: count for kind, count in summary.items() if count}

    return run


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup_module, "_SLICE", 3)
    monkeypatch.setattr(cleanup_registry, "_SLICE", 3)


def let_idle(bench: RelayBench, *keys: str) -> None:
    """Make keys look as if nobody had touched them for long."""
    for key in keys:
        value: Any = bench.redis.dump(key)
        bench.redis.restore(key, 0, value, replace=True, idletime=LONG_AGO_S)


def open_edges(bench: RelayBench, *kinds: str, lease_ms: int = LONG_AGO_MS) -> list[str]:
    edge_ids = [f"{bench.edge_id}-{kind}" for kind in kinds]
    for edge_id in edge_ids:
        bench.open_edge(edge_id, lease_ms=lease_ms)
    return edge_ids


def open_orphan(bench: RelayBench, user_id: uuid.UUID) -> str:
    """Leave everything of an edge but its lease."""
    (edge_id,) = open_edges(bench, "orphan")
    bench.connect(user_id, edge_id)
    bench.redis.zrem(names.LEASES_KEY, edge_id)
    return edge_id


def traces(bench: RelayBench, edge_id: str, user_id: uuid.UUID) -> list[str]:
    """Return what Redis knows of an edge and of one user on it."""
    redis = bench.redis
    found = {
        "lease": redis.zscore(names.LEASES_KEY, edge_id) is not None,
        "inbox": redis.exists(names.inbox_key(edge_id)),
        "users": redis.exists(names.edge_users_key(edge_id)),
        "presence": redis.sismember(names.user_edges_key(str(user_id)), edge_id),
    }
    return [kind for kind, is_there in found.items() if is_there]


EVERYTHING = ["lease", "inbox", "users", "presence"]


def dump(bench: RelayBench, store: Store) -> dict[str, Any]:
    """Return everything that there is in both stores, without making a key less idle."""
    tables = ("dead_letters", "devices", "notifications", "messages", "archive_holds", "chats", "undelivered")
    rows = {table: bench.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}
    with Redis.from_url(store.redis_url, single_connection_client=True) as redis:
        redis.client_no_touch("ON")
        keys: Any = redis.keys()
        return {**rows, **{key.decode(): redis.dump(key) for key in sorted(keys)}}


def add_aged(bench: RelayBench, kind: str, *ages_days: float) -> None:
    """Make a row of a kind for each age."""
    person, _ = bench.person("alice")
    for number, days in enumerate(ages_days):
        bench.rows(
            {
                "dead_letters": "INSERT INTO dead_letters VALUES"
                " (:id, 'send_message', :user, '{}', 'broken', now() - :days * interval '1 day')",
                "devices": "INSERT INTO devices (id, user_id, channel, address, registered_at)"
                " VALUES (:id, :user, 'fcm', :address, now() - :days * interval '1 day')",
                "notifications": "INSERT INTO notifications (id, user_id, chat_ids, first_seqs, last_seqs,"
                " created_at, finished_at) VALUES (:id, :user, '{}', '{}', '{}',"
                " now() - :days * interval '1 day', CASE WHEN :number % 2 = 0 THEN now() END)",
                "holds": "INSERT INTO archive_holds"
                " VALUES (DATE '2026-01-01' + CAST(:number AS integer), now() - :days * interval '1 day')",
            }[kind],
            **{"id": uuid.uuid4(), "user": person, "days": days, "number": number},
            address=f"token-{uuid.uuid4()}",
        )


def ages(bench: RelayBench, kind: str) -> list[int]:
    """Return how many days old the rows of a kind are, ascending."""
    table, at = {"devices": (kind, "registered_at"), "holds": ("archive_holds", "until")}.get(
        kind, (kind, "created_at")
    )
    found = bench.rows(f"SELECT round(extract(epoch FROM now() - {at}) / 86400)::int FROM {table} ORDER BY 1")
    return [row[0] for row in found]


def add_chat(bench: RelayBench, *ages_days: float) -> str:
    """Make a chat with a message for each age; the oldest goes first. Return its id."""
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    sent = [bench.send(alice, bobs_name, "hello") for _ in ages_days] or [
        bench.event(alice, "join_chat", {"username": bobs_name})
    ]
    bench.ask(*sent)
    low, high = sorted((alice, bob))
    ((chat_id,),) = bench.rows(
        "SELECT id FROM chats WHERE user_lo = :low AND user_hi = :high", low=low, high=high
    )
    for seq, days in enumerate(ages_days, 1):
        bench.rows(
            "UPDATE messages SET created_at = now() - :days * interval '1 day'"
            " WHERE chat_id = :c AND seq = :seq",
            **{"c": chat_id, "seq": seq, "days": days},
        )
    return str(chat_id)


def fill(bench: RelayBench) -> Summary:
    """Leave something of every kind, old and young; return what a run with retention has to remove."""
    people = bench.people("alice", "bob", "carol", "dave", "erin")
    for edge_id in open_edges(bench, *"abcde"):
        for person, _ in people:
            bench.connect(person, edge_id)
    orphan = open_orphan(bench, people[0][0])
    let_idle(bench, names.inbox_key(orphan), names.edge_users_key(orphan))
    bench.connect(people[0][0])
    for kind, days in AGED.items():
        add_aged(bench, kind, *(days + number for number in (1, 2, 3, 4, 5, 6, 7)), days - 0.5)
    for chat in ([9, 8, 7, 6, 5, 4, 3, 2.5], [5, 1], [1, 1], [], [6, 5, 4, 3, 2.5, 1], [8], [9, 9, 9]):
        add_chat(bench, *chat)
    return {
        **{"edges": 6, "streams": 6, "presence": 26, "messages": 8 + 1 + 5 + 1 + 3},
        **dict.fromkeys(AGED, 7),
    }


RETENTION = {"retention_days": 2}


def test_there_is_nothing_to_clean_up_among_the_living(bench: RelayBench, clean: Clean) -> None:
    assert clean() == {}


def test_an_edge_whose_lease_is_long_over_is_forgotten(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    (gone,) = open_edges(bench, "gone")
    bench.connect(bob, gone)
    assert clean() == {"edges": 1, "streams": 1, "presence": 1}
    assert traces(bench, gone, bob) == []


def test_an_edge_whose_lease_is_hardly_over_keeps_everything(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    (late,) = open_edges(bench, "late", lease_ms=-60_000)
    bench.connect(bob, late)
    let_idle(bench, names.inbox_key(late), names.edge_users_key(late))
    assert clean() == {}
    assert traces(bench, late, bob) == EVERYTHING
    assert clean(cleanup_edge_s=59) == {"edges": 1, "streams": 1, "presence": 1}


def test_an_edge_with_a_lease_keeps_everything_however_idle(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    bench.connect(bob)
    let_idle(bench, names.inbox_key(bench.edge_id), names.edge_users_key(bench.edge_id))
    let_idle(bench, names.user_edges_key(str(bob)))
    assert clean(cleanup_edge_s=0) == {}
    assert traces(bench, bench.edge_id, bob) == EVERYTHING


def test_a_user_of_a_gone_edge_stays_on_the_others(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    (gone,) = open_edges(bench, "gone")
    bench.connect(bob, gone)
    bench.connect(bob)
    assert clean()["presence"] == 1
    assert bench.rules.presence.edges_of({str(bob)}) == {str(bob): [bench.edge_id]}


def test_an_edge_without_a_lease_is_forgotten_once_it_is_idle(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    orphan = open_orphan(bench, bob)
    let_idle(bench, names.inbox_key(orphan))
    assert clean() == {}
    assert traces(bench, orphan, bob) == ["inbox", "users", "presence"]
    let_idle(bench, names.edge_users_key(orphan))
    assert clean() == {"edges": 1, "streams": 1, "presence": 1}
    assert traces(bench, orphan, bob) == []


def test_an_edge_of_which_only_a_users_entry_is_left_is_forgotten(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    bench.redis.sadd(names.user_edges_key(str(bob)), "edge-nobody-knows")
    assert clean() == {"presence": 1}
    assert clean() == {}


def test_without_idle_times_edges_without_a_lease_are_kept(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    (gone,) = open_edges(bench, "gone")
    bench.connect(bob, gone)
    bench.redis.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        orphan = open_orphan(bench, bob)
        assert clean(cleanup_edge_s=0) == {"edges": 1, "streams": 1, "presence": 1}
    finally:
        bench.redis.config_set("maxmemory-policy", "noeviction")
    assert traces(bench, orphan, bob) == ["inbox", "users", "presence"]
    assert traces(bench, gone, bob) == []


@pytest.mark.parametrize("step", ["_find_edges", "_find_presence"])
@pytest.mark.parametrize("has_lease", [True, False])
def test_an_edge_that_comes_back_between_look_and_removal_keeps_what_it_registers(
    bench: RelayBench, clean: Clean, monkeypatch: pytest.MonkeyPatch, step: str, has_lease: bool
) -> None:
    bob, _ = bench.person("bob")
    if has_lease:
        (edge_id,) = open_edges(bench, "sleepy")
        bench.connect(bob, edge_id)
    else:
        edge_id = open_orphan(bench, bob)
        let_idle(bench, names.inbox_key(edge_id), names.edge_users_key(edge_id))
    look: Any = getattr(cleanup_registry._Cleanup, step)
    looks = 0

    def look_and_wake(*args: Any) -> Any:
        nonlocal looks
        found = list(look(*args))
        if edge_id in str(found):
            looks += 1
            bench.redis.delete(names.inbox_key(edge_id))
            bench.open_edge(edge_id)
            bench.connect(bob, edge_id)
        return found

    monkeypatch.setattr(cleanup_registry._Cleanup, step, look_and_wake)
    clean()
    assert looks == 1
    assert traces(bench, edge_id, bob) == EVERYTHING


def test_an_edge_that_starts_keeps_what_it_registers_before_its_first_lease(
    bench: RelayBench, clean: Clean
) -> None:
    bob, _ = bench.person("bob")
    bench.redis.xadd(names.inbox_key("edge-new"), {"e": ""})
    bench.connect(bob, "edge-new")
    let_idle(bench, names.user_edges_key(str(bob)))
    assert clean() == {}
    assert traces(bench, "edge-new", bob) == ["inbox", "users", "presence"]


@pytest.mark.parametrize(("kind", "days"), AGED.items())
def test_rows_are_removed_when_they_are_too_old(
    bench: RelayBench, clean: Clean, kind: str, days: int
) -> None:
    add_aged(bench, kind, days - 1, days + 1, days + 2, days - 1)
    assert clean() == {kind: 2}
    assert ages(bench, kind) == [days - 1, days - 1]


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("dead_letters", "dead_letter_days"),
        ("devices", "device_days"),
        ("notifications", "notification_days"),
    ],
)
def test_how_long_rows_stay_is_a_setting(bench: RelayBench, clean: Clean, kind: str, setting: str) -> None:
    add_aged(bench, kind, 0.5, 3, 4)
    assert clean(**{setting: 1}) == {kind: 2}
    assert ages(bench, kind) in ([0], [1])


def test_messages_are_kept_for_ever_unless_told_otherwise(bench: RelayBench, clean: Clean) -> None:
    chat_id = add_chat(bench, 10_000, 5_000, 1)
    assert clean() == {}
    assert bench.seqs(chat_id) == [1, 2, 3]


def test_messages_older_than_the_retention_are_removed_from_every_chat(
    bench: RelayBench, clean: Clean
) -> None:
    old, mixed, young, empty = (add_chat(bench, *days) for days in ([9, 8, 7], [4, 3, 1], [1, 1], []))
    assert clean(**RETENTION) == {"messages": 5}
    assert [bench.seqs(chat_id) for chat_id in (old, mixed, young, empty)] == [[], [3], [1, 2], []]


def test_a_long_chat_with_nothing_old_is_not_read(bench: RelayBench, clean: Clean) -> None:
    for _ in range(3):
        add_chat(bench, *[1] * 50)
    plans: list[str] = []

    def explain(conn: Any, _: Any, statement: str, parameters: Any, *__: Any) -> None:
        if "messages" in statement and "EXPLAIN" not in statement:
            conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
            rows = conn.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING off) {statement}", parameters)
            plans.extend(row[0] for row in rows)

    sql.listen(bench.engine, "before_cursor_execute", explain)
    assert clean(**RETENTION) == {}
    (read,) = (line for line in plans if "Scan using messages_pkey" in line)
    assert "(actual rows=1.00 loops=3)" in read, "\n".join(plans)


@pytest.mark.usefixtures("small_slices")
def test_everything_goes_in_small_slices_too(bench: RelayBench, clean: Clean) -> None:
    expected = fill(bench)
    sizes: list[int] = []

    def note(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if "DELETE" in statement:
            sizes.append(cursor.rowcount)

    sql.listen(bench.engine, "after_cursor_execute", note)
    assert clean(**RETENTION) == expected
    assert max(sizes) == 3
    assert sum(sizes) == sum(expected[kind] for kind in (*AGED, "messages"))
    assert clean(**RETENTION) == {}


@pytest.mark.parametrize("is_small", [True, False])
def test_a_dry_run_counts_what_a_run_removes_and_removes_nothing(
    bench: RelayBench, bench_store: Store, clean: Clean, is_small: bool, request: pytest.FixtureRequest
) -> None:
    if is_small:
        request.getfixturevalue("small_slices")
    expected = fill(bench)
    before = dump(bench, bench_store)
    assert clean(dry_run=True, **RETENTION) == expected
    assert dump(bench, bench_store) == before
    assert clean(dry_run=True, **RETENTION) == expected
    assert clean(**RETENTION) == expected


@pytest.mark.usefixtures("small_slices")
def test_a_dry_run_counts_rows_of_the_same_age_once(bench: RelayBench, clean: Clean) -> None:
    add_aged(bench, "dead_letters", *[40] * 8)
    bench.rows("UPDATE dead_letters SET created_at = now() - interval '40 days'")
    assert clean(dry_run=True) == clean() == {"dead_letters": 8}


@pytest.mark.usefixtures("small_slices")
def test_runs_at_once_remove_everything_once(bench: RelayBench, make_context: ContextFactory) -> None:
    expected = fill(bench)
    contexts = [make_context(**RETENTION) for _ in range(3)]
    together = threading.Barrier(len(contexts))
    summaries: list[Summary] = []

    def run(context: Context) -> None:
        together.wait()
        summaries.append(cleanup(context, Stopwatch(60), False))

    threads = [threading.Thread(target=run, args=(context,)) for context in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A run that finds only what others have locked leaves the rest to them, or to the next run.
    summaries += [cleanup(contexts[0], Stopwatch(60), False) for _ in range(2)]
    assert len(summaries) == 5
    assert {kind: sum(summary[kind] for summary in summaries) for kind in NOTHING} == expected
    assert summaries[-1] == NOTHING


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize(("slices", "rows"), [(0, 0), (1, 3), (4, 3 + 3 + 1 + 3), (8, 7 + 7 + 6)])
def test_a_run_that_was_killed_is_made_up_for_by_the_next(
    bench: RelayBench, clean: Clean, slices: int, rows: int
) -> None:
    expected = fill(bench)
    removed = 0

    def die(_: Any, __: Any, statement: str, *___: Any) -> None:
        nonlocal removed
        if "DELETE" in statement:
            removed += 1
            if removed > slices:
                raise KeyboardInterrupt

    sql.listen(bench.engine, "after_cursor_execute", die)
    with pytest.raises(KeyboardInterrupt):
        clean(**RETENTION)
    sql.remove(bench.engine, "after_cursor_execute", die)
    rest = clean(**RETENTION)
    assert sum(expected[kind] - rest.get(kind, 0) for kind in (*AGED, "messages")) == rows
    assert clean(**RETENTION) == {}


def test_a_run_that_was_killed_in_redis_is_made_up_for_by_the_next(
    bench: RelayBench, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fill(bench)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cleanup_registry._Cleanup, "forget_presence", die)
        with pytest.raises(KeyboardInterrupt):
            clean(**RETENTION)
    assert clean(**RETENTION) == {
        kind: count for kind, count in expected.items() if kind not in ("edges", "streams")
    }


def test_a_run_whose_time_is_over_begins_nothing(bench: RelayBench, bench_store: Store, clean: Clean) -> None:
    expected = fill(bench)
    before = dump(bench, bench_store)
    assert clean(run_s=0, **RETENTION) == {}
    assert dump(bench, bench_store) == before
    assert clean(**RETENTION) == expected


def test_a_row_that_somebody_has_locked_is_left_for_the_next_run(bench: RelayBench, clean: Clean) -> None:
    add_aged(bench, "devices", 190, 200)
    with bench.engine.begin() as conn:
        conn.execute(text("SELECT 1 FROM devices ORDER BY registered_at LIMIT 1 FOR UPDATE"))
        assert clean() == {"devices": 1}
    assert ages(bench, "devices") == [200]
    assert clean() == {"devices": 1}


def test_a_message_that_somebody_has_locked_is_left_for_the_next_run(bench: RelayBench, clean: Clean) -> None:
    chat_id = add_chat(bench, 9, 8, 7, 1)
    with bench.engine.begin() as conn:
        conn.execute(text("SELECT 1 FROM messages WHERE seq = 2 FOR UPDATE"))
        assert clean(**RETENTION) == {"messages": 2}
    assert bench.seqs(chat_id) == [2, 4]
    assert clean(**RETENTION) == {"messages": 1}


def test_a_table_that_somebody_has_locked_is_left_for_the_next_run(bench: RelayBench, clean: Clean) -> None:
    expected = fill(bench)
    with bench.engine.begin() as conn:
        conn.execute(text("LOCK TABLE dead_letters, messages IN SHARE MODE"))
        first = clean(**RETENTION)
    assert first == {k: v for k, v in expected.items() if k not in ("dead_letters", "messages")}
    assert clean(**RETENTION) == {k: expected[k] for k in ("dead_letters", "messages")}


@pytest.mark.parametrize("has_address", [True, False])
def test_without_redis_postgres_is_cleaned_up_before_the_run_fails(
    bench: RelayBench, make_context: ContextFactory, has_address: bool
) -> None:
    add_aged(bench, "dead_letters", 40)
    url = f"redis://127.0.0.1:{free_port()}" if has_address else None
    context = make_context(redis_url=url)
    if url:
        context.__dict__["redis"] = Redis.from_url(url, retry=Retry(NoBackoff(), 0))
    with pytest.raises(RedisConnectionError if has_address else SettingsError):
        cleanup(context, Stopwatch(60), False)
    assert ages(bench, "dead_letters") == []
