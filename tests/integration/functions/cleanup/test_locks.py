"""Locked rows are left for the next run."""

from sqlalchemy import text

from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.cleanup.state import RETENTION, Clean, add_aged, add_chat, ages, fill


def test_a_row_that_somebody_has_locked_is_left_for_the_next_run(bench: WorkerBench, clean: Clean) -> None:
    add_aged(bench, "devices", 190, 200)
    with bench.engine.begin() as conn:
        conn.execute(text("SELECT 1 FROM devices ORDER BY registered_at LIMIT 1 FOR UPDATE"))
        assert clean() == {"devices": 1}
    assert ages(bench, "devices") == [200]
    assert clean() == {"devices": 1}


def test_a_message_that_somebody_has_locked_is_left_for_the_next_run(
    bench: WorkerBench, clean: Clean
) -> None:
    chat_id = add_chat(bench, 9, 8, 7, 1)
    with bench.engine.begin() as conn:
        conn.execute(text("SELECT 1 FROM messages WHERE seq = 2 FOR UPDATE"))
        assert clean(**RETENTION) == {"messages": 2}
    assert bench.seqs(chat_id) == [2, 4]
    assert clean(**RETENTION) == {"messages": 1}


def test_a_table_that_somebody_has_locked_is_left_for_the_next_run(bench: WorkerBench, clean: Clean) -> None:
    expected = fill(bench)
    with bench.engine.begin() as conn:
        conn.execute(text("LOCK TABLE dead_letters, messages IN SHARE MODE"))
        first = clean(**RETENTION)
    assert first == {k: v for k, v in expected.items() if k not in ("dead_letters", "messages")}
    assert clean(**RETENTION) == {k: expected[k] for k in ("dead_letters", "messages")}
