"""A row that cannot be deleted stops neither the run nor the next one."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.cleanup.state import AGED, RETENTION, Clean, add_aged, add_chat, ages, fill

TABLES = {"holds": "archive_holds", "webhooks": "outbox"}


@pytest.fixture
def refusing(bench: WorkerBench) -> Iterator[None]:
    """Let triggers refuse to delete rows, as the tables of an app may."""
    bench.rows(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'refused'; END $$"
    )
    yield
    bench.rows("DROP FUNCTION refuse CASCADE")


def refuse(bench: WorkerBench, table: str, when: str) -> None:
    bench.rows(
        f"CREATE TRIGGER refuse BEFORE DELETE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"
    )


@pytest.mark.usefixtures("small_slices", "refusing")
@pytest.mark.parametrize("bad", [[1], [7], [1, 2, 3, 4], [2, 4, 6], [1, 2, 3, 4, 5, 6, 7]], ids=str)
@pytest.mark.parametrize("kind", AGED)
def test_a_row_that_cannot_be_deleted_is_skipped_counted_and_logged(
    bench: WorkerBench, clean: Clean, kind: str, bad: list[int]
) -> None:
    add_aged(bench, kind, *(AGED[kind] + number for number in range(1, 8)))
    columns = {"devices": "registered_at", "holds": "until", "job_runs": "began_at", "webhooks": "dead_at"}
    at = columns.get(kind, "created_at")
    days = ", ".join(str(AGED[kind] + number) for number in bad)
    refuse(bench, TABLES.get(kind, kind), f"round(extract(epoch FROM now() - OLD.{at}) / 86400) IN ({days})")
    for removed in (7 - len(bad), 0):
        with capture_logs() as logs:
            assert clean() == {"failed": len(bad)} | ({kind: removed} if removed else {})
        skipped = [line for line in logs if line["event"] == "row_skipped"]
        assert [line["table"] for line in skipped] == [TABLES.get(kind, kind)] * len(bad)
        assert ages(bench, kind) == [AGED[kind] + number for number in bad]


@pytest.mark.usefixtures("small_slices", "refusing")
def test_more_bad_rows_of_one_time_than_a_slice_has_end_nothing(bench: WorkerBench, clean: Clean) -> None:
    add_aged(bench, "devices", *[200] * 5)
    bench.rows("UPDATE devices SET registered_at = now() - interval '200 days'")
    add_aged(bench, "dead_letters", 40)
    add_aged(bench, "notifications", 40)
    refuse(bench, "devices", "true")
    found = clean()
    assert found.pop("failed") in range(3, 6)
    assert found == {"dead_letters": 1, "notifications": 1}


@pytest.mark.usefixtures("refusing")
def test_a_chat_whose_messages_cannot_be_deleted_keeps_no_other_from_it(
    bench: WorkerBench, clean: Clean
) -> None:
    expected = fill(bench)
    bad = add_chat(bench, 9, 8, 7, 1)
    refuse(bench, "messages", f"OLD.chat_id = '{bad}' AND OLD.seq = 2")
    for removed in (expected, {}):
        with capture_logs() as logs:
            assert clean(**RETENTION) == {**removed, "failed": 1}
        (line,) = (line for line in logs if line["event"] == "row_skipped")
        assert (line["table"], line["key"]) == ("chats", bad)
        assert bench.seqs(bad) == [1, 2, 3, 4]


@pytest.mark.usefixtures("refusing")
def test_a_dry_run_removes_nothing_that_a_run_would_have_to_remove_row_by_row(
    bench: WorkerBench, clean: Clean
) -> None:
    add_aged(bench, "devices", 200, 210)
    refuse(bench, "devices", "true")
    assert clean(dry_run=True) == {"devices": 2}
    assert ages(bench, "devices") == [200, 210]
