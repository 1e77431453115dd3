"""Rows are removed when they are too old, and messages only if there is a retention."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.harness.engines import listening
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.cleanup.state import AGED, RETENTION, Clean, add_aged, add_chat, ages


def test_there_is_nothing_to_clean_up_in_an_empty_store(bench: WorkerBench, clean: Clean) -> None:
    assert clean() == {}


@pytest.mark.parametrize(("kind", "days"), AGED.items())
def test_rows_are_removed_when_they_are_too_old(
    bench: WorkerBench, clean: Clean, kind: str, days: int
) -> None:
    add_aged(bench, kind, days - 1, days + 1, days + 2, days - 1)
    assert clean() == {kind: 2}
    assert ages(bench, kind) == [days - 1, days - 1]


@pytest.mark.parametrize(
    ("kind", "setting", "days"),
    [
        ("dead_letters", "dead_letter_days", 1),
        ("devices", "device_days", 1),
        ("reports", "report_days", 1),
        # No setting keeps notifications for less than two days.
        ("notifications", "notification_days", 2),
    ],
)
def test_how_long_rows_stay_is_a_setting(
    bench: WorkerBench, clean: Clean, kind: str, setting: str, days: int
) -> None:
    add_aged(bench, kind, days - 0.9, days + 0.1, days + 1)
    assert clean(**{setting: days}) == {kind: 2}
    assert ages(bench, kind) == [days - 1]


def test_messages_are_kept_forever_unless_told_otherwise(bench: WorkerBench, clean: Clean) -> None:
    chat_id = add_chat(bench, 10_000, 5_000, 1)
    assert clean() == {}
    assert bench.seqs(chat_id) == [1, 2, 3]


def test_messages_older_than_the_retention_are_removed_from_every_chat(
    bench: WorkerBench, clean: Clean
) -> None:
    old, mixed, young, empty = (add_chat(bench, *days) for days in ([9, 8, 7], [4, 3, 1], [1, 1], []))
    assert clean(**RETENTION) == {"messages": 5}
    assert [bench.seqs(chat_id) for chat_id in (old, mixed, young, empty)] == [[], [3], [1, 2], []]


def test_a_long_chat_with_nothing_old_is_not_read(bench: WorkerBench, engine: Engine, clean: Clean) -> None:
    for _ in range(3):
        add_chat(bench, *[1] * 50)
    plans: list[str] = []

    def explain(conn: Any, _: Any, statement: str, parameters: Any, *__: Any) -> None:
        # The backfill asks for single messages of any chat.
        if "messages" in statement and "EXPLAIN" not in statement and "has_many" not in statement:
            conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
            rows = conn.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING off) {statement}", parameters)
            plans.extend(row[0] for row in rows)

    with listening(engine, "before_cursor_execute", explain):
        assert clean(**RETENTION) == {}
    (read,) = (line for line in plans if "Scan using messages_pkey" in line)
    assert "(actual rows=1.00 loops=3)" in read, "\n".join(plans)
