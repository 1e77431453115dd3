"""Days are UTC days, also at the end of a month, when clocks change, and whatever zone Postgres is in."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from functions.archive.restore import restore
from functions.pacer import Pacer
from infra.store.engine import make_engine
from tests.harness.engines import Store
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import Archive, deliver, is_whole, objects, stored
from tests.integration.functions.conftest import ContextFactory

DAYS = (
    *("2024-02-28", "2024-02-29", "2024-03-01", "2024-12-31", "2025-01-01"),
    *("2025-03-09", "2025-03-30", "2025-03-31", "2025-10-26", "2025-11-02"),
)
"""With 29 February, ends of months and years, and days of 23 and 25 hours in Berlin and New York."""


@pytest.fixture(params=["America/New_York", "Pacific/Kiritimati"])
def engine(bench_store: Store, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engine of the functions, whose sessions are in another zone."""
    engine = make_engine(f"{bench_store.database_url}?options=-c%20timezone%3D{request.param}")
    yield engine
    engine.dispose()


@pytest.fixture
def first_and_last(unswept_bench: WorkerBench) -> list[Any]:
    """Store the first and the last message of each day, each pair in a chat of its own. Return all rows."""
    for day in DAYS:
        (alice, _), (_, bob) = unswept_bench.people("alice", "bob")
        events = [unswept_bench.send(alice, bob, word) for word in ("first", "last")]
        chat_id = unswept_bench.ask(*events).ack(events[0])["message"]["chatId"]
        for seq, clock in enumerate(("00:00:00", "23:59:59.999999"), 1):
            unswept_bench.rows(
                "UPDATE messages SET created_at = CAST(:at AS timestamptz)"
                " WHERE chat_id = :chat AND seq = :seq",
                **{"at": f"{day} {clock}+00", "chat": chat_id, "seq": seq},
            )
        deliver(unswept_bench, chat_id)
    return stored(unswept_bench)


def test_each_day_is_an_object_with_its_first_and_last_message(
    unswept_bench: WorkerBench, s3: Any, run: Archive, first_and_last: list[Any]
) -> None:
    assert run()["messages"] == 2 * len(DAYS)
    assert list(objects(s3)) == [f"archive/day={day}/shard=0-of-1/1.jsonl.gz" for day in sorted(DAYS)]
    assert is_whole(unswept_bench, s3, first_and_last)


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("2024-02-29", "2024-02-29", 1),
        ("2024-12-31", "2025-03-31", 5),
        ("2025-10-26", "2025-11-02", 2),
    ],
)
def test_a_restore_brings_back_exactly_its_days(
    make_context: ContextFactory,
    unswept_bench: WorkerBench,
    run: Archive,
    first_and_last: list[Any],
    first: str,
    last: str,
    days: int,
) -> None:
    run()
    span = date.fromisoformat(first), date.fromisoformat(last)
    assert restore(make_context(), Pacer(600), *span)["messages"] == 2 * days
    found = unswept_bench.rows("SELECT chat_id, seq, created_at AT TIME ZONE 'UTC' AS at FROM messages")
    assert {row.at.date() for row in found} == {
        day for day in map(date.fromisoformat, DAYS) if span[0] <= day <= span[1]
    }
    assert {tuple(row) for row in stored(unswept_bench)} <= {tuple(row) for row in first_and_last}
    holds = unswept_bench.rows("SELECT day, until - now() AS left FROM archive_holds ORDER BY day")
    assert [holds[0].day, holds[-1].day] == [*span]
    assert len(holds) == (span[1] - span[0]).days + 1
    assert all(timedelta(days=30, minutes=-1) < row.left <= timedelta(days=30) for row in holds)


@pytest.mark.parametrize("archive_days", [1, 200])
def test_a_day_is_archived_once_it_ended_that_many_days_ago(
    unswept_bench: WorkerBench, s3: Any, make_chat: Callable[..., Any], run: Archive, archive_days: int
) -> None:
    today = datetime.now(UTC).date()
    for ago in (archive_days, archive_days + 1):
        make_chat({ago: 1})
    unswept_bench.rows("UPDATE messages SET created_at = date_trunc('day', created_at, 'UTC')")
    run(archive_days=archive_days, edit_s=0, unsend_s=0)  # which could be longer than those days
    day = today - timedelta(days=archive_days + 1)
    assert list(objects(s3)) == [f"archive/day={day}/shard=0-of-1/1.jsonl.gz"]
