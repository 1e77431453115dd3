"""Cleanup: what has had its day is removed, slice by slice, and nothing else."""

import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
from sqlalchemy import event as sql
from sqlalchemy import text

from functions import cleanup as cleanup_module
from functions.cleanup import cleanup
from functions.context import Context, Stopwatch, Summary
from infra.settings import FunctionSettings
from tests.harness.engines import Engines, Store
from tests.harness.relay import RelayBench

NOTHING: Summary = dict.fromkeys(("dead_letters", "devices", "notifications", "messages", "holds"), 0)
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
    bench.rows("TRUNCATE profiles, dead_letters, archive_holds CASCADE")
    return bench


@pytest.fixture
def make_context(bench: RelayBench, bench_store: Store, monkeypatch: pytest.MonkeyPatch) -> ContextFactory:
    for variable in [name for name in os.environ if name.startswith("BBGRAM_")]:
        monkeypatch.delenv(variable)

    def make(**options: Any) -> Context:
        addresses = {"database_url": bench_store.database_url, "redis_url": bench_store.redis_url}
        return Context(FunctionSettings(**{**addresses, **options}), bench.engine, NoQueue())

    return make


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


def dump(bench: RelayBench) -> dict[str, Any]:
    """Return every row of the tables that cleanup could touch."""
    tables = ("dead_letters", "devices", "notifications", "messages", "archive_holds", "chats", "undelivered")
    return {table: bench.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


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
    for kind, days in AGED.items():
        add_aged(bench, kind, *(days + number for number in (1, 2, 3, 4, 5, 6, 7)), days - 0.5)
    for chat in ([9, 8, 7, 6, 5, 4, 3, 2.5], [5, 1], [1, 1], [], [6, 5, 4, 3, 2.5, 1], [8], [9, 9, 9]):
        add_chat(bench, *chat)
    return {"messages": 8 + 1 + 5 + 1 + 3, **dict.fromkeys(AGED, 7)}


RETENTION = {"retention_days": 2}


def test_there_is_nothing_to_clean_up_in_an_empty_store(bench: RelayBench, clean: Clean) -> None:
    assert clean() == {}


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
    bench: RelayBench, clean: Clean, is_small: bool, request: pytest.FixtureRequest
) -> None:
    if is_small:
        request.getfixturevalue("small_slices")
    expected = fill(bench)
    before = dump(bench)
    assert clean(dry_run=True, **RETENTION) == expected
    assert dump(bench) == before
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


def test_a_run_whose_time_is_over_begins_nothing(bench: RelayBench, clean: Clean) -> None:
    expected = fill(bench)
    before = dump(bench)
    assert clean(run_s=0, **RETENTION) == {}
    assert dump(bench) == before
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


def test_cleanup_needs_no_redis(bench: RelayBench, clean: Clean) -> None:
    add_aged(bench, "dead_letters", 40)
    assert clean(redis_url=None) == {"dead_letters": 1}
    assert ages(bench, "dead_letters") == []
