"""A run removes slice by slice. It may be killed at any point, and another one may run at the same time."""

import threading
from typing import Any

import pytest
from sqlalchemy import Engine

from functions.cleanup import cleanup
from functions.context import Context, Summary
from functions.pacer import Pacer
from tests.harness.engines import listening
from tests.harness.waiting import eventually
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.cleanup.state import (
    AGED,
    NOTHING,
    RETENTION,
    Clean,
    add_aged,
    ages,
    dump,
    fill,
)
from tests.integration.functions.conftest import ContextFactory

OTHER_TRANSACTIONS = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
        AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
"""


@pytest.mark.usefixtures("small_slices")
def test_everything_goes_in_small_slices_too(bench: WorkerBench, engine: Engine, clean: Clean) -> None:
    expected = fill(bench)
    sizes: list[int] = []

    def note(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if "DELETE" in statement:
            sizes.append(cursor.rowcount)

    with listening(engine, "after_cursor_execute", note):
        assert clean(**RETENTION) == expected
    assert max(sizes) == 3
    assert sum(sizes) == sum(expected[kind] for kind in (*AGED, "messages"))
    assert clean(**RETENTION) == {}


@pytest.mark.parametrize("is_small", [True, False])
def test_a_dry_run_counts_what_a_run_removes_and_removes_nothing(
    bench: WorkerBench, clean: Clean, is_small: bool, request: pytest.FixtureRequest
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
def test_a_dry_run_counts_rows_of_the_same_age_once(bench: WorkerBench, clean: Clean) -> None:
    add_aged(bench, "dead_letters", *[40] * 8)
    bench.rows("UPDATE dead_letters SET created_at = now() - interval '40 days'")
    assert clean(dry_run=True) == clean() == {"dead_letters": 8}


@pytest.mark.usefixtures("small_slices")
def test_runs_at_once_remove_everything_once(bench: WorkerBench, make_context: ContextFactory) -> None:
    expected = fill(bench)
    contexts = [make_context(**RETENTION) for _ in range(3)]
    together = threading.Barrier(len(contexts))
    summaries: list[Summary] = []

    def run(context: Context) -> None:
        together.wait()
        summaries.append(cleanup(context, Pacer(60), False))

    threads = [threading.Thread(target=run, args=(context,)) for context in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A run that finds only locked rows leaves the rest to the other run, or to the next one.
    summaries += [cleanup(contexts[0], Pacer(60), False) for _ in range(2)]
    assert len(summaries) == 5
    assert {kind: sum(summary[kind] for summary in summaries) for kind in NOTHING} == {
        **expected,
        "failed": 0,
    }
    assert summaries[-1] == NOTHING


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize(("slices", "rows"), [(0, 0), (1, 3), (4, 3 + 3 + 1 + 3), (8, 7 + 7 + 6)])
def test_a_killed_run_is_completed_by_the_next(
    bench: WorkerBench, engine: Engine, clean: Clean, slices: int, rows: int
) -> None:
    expected = fill(bench)
    removed = 0

    def die(_: Any, __: Any, statement: str, *___: Any) -> None:
        nonlocal removed
        if "DELETE" in statement:
            removed += 1
            if removed > slices:
                raise KeyboardInterrupt

    with listening(engine, "after_cursor_execute", die), pytest.raises(KeyboardInterrupt):
        clean(**RETENTION)
    eventually(lambda: not bench.rows(OTHER_TRANSACTIONS), "the killed run has lost its locks")
    rest = clean(**RETENTION)
    assert sum(expected[kind] - rest.get(kind, 0) for kind in (*AGED, "messages")) == rows
    assert clean(**RETENTION) == {}


def test_a_run_whose_time_is_over_begins_nothing(bench: WorkerBench, clean: Clean) -> None:
    expected = fill(bench)
    before = dump(bench)
    assert clean(run_s=0, **RETENTION) == {}
    assert dump(bench) == before
    assert clean(**RETENTION) == expected


def test_cleanup_needs_no_redis(bench: WorkerBench, clean: Clean) -> None:
    add_aged(bench, "dead_letters", 40)
    assert clean(redis_url=None) == {"dead_letters": 1}
    assert ages(bench, "dead_letters") == []
