"""What a run archives, and what it leaves alone."""

from typing import Any

import pytest

from functions.archive import archiver, message_file
from functions.archive.archiver import archive
from functions.archive.deletion import delete_messages
from functions.archive.restore import restore
from functions.pacer import Pacer
from infra.settings.base import SettingsError
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import (
    NOTHING,
    Archive,
    Restore,
    day,
    deliver,
    is_whole,
    objects,
    stored,
)


def test_undelivered_messages_stay_and_later_get_their_own_object(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive
) -> None:
    chat_id, alice, bob = make_chat({100: 9, 95: 2}, delivered=False)
    make_chat({100: 2})
    before = stored(unswept_bench)
    unswept_bench.rows("UPDATE chat_members SET read_seq = 4 WHERE user_id = :user", user=bob[0])
    unswept_bench.rows("UPDATE chat_members SET delivered_seq = 9 WHERE user_id = :user", user=alice[0])
    assert (run()["messages"], unswept_bench.seqs(chat_id)) == (6, [5, 6, 7, 8, 9, 10, 11])
    assert run() == NOTHING
    deliver(unswept_bench, chat_id)
    assert (run()["messages"], unswept_bench.seqs(chat_id)) == (7, [])
    assert [key.rpartition("/")[2] for key in objects(s3)] == ["1.jsonl.gz", "2.jsonl.gz", "1.jsonl.gz"]
    assert is_whole(unswept_bench, s3, before)


def test_a_dry_run_counts_what_would_be_moved_and_changes_nothing(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, bring_back: Restore
) -> None:
    make_chat({110: 3, 100: 30, 5: 1})
    make_chat({100: 2})
    before = stored(unswept_bench)
    assert run(dry_run=True) == {**NOTHING, "messages": 35, "objects": 2, "days": 2}
    assert (stored(unswept_bench), objects(s3)) == (before, {})
    run()
    left = stored(unswept_bench)
    assert bring_back(110, 100, dry_run=True) == {"messages": 35, "skipped": 0, "objects": 2}
    assert stored(unswept_bench) == left
    assert unswept_bench.rows("SELECT * FROM archive_holds") == []


def test_a_run_begins_nothing_when_its_time_is_over(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, make_context: Any
) -> None:
    make_chat({100: 3})
    assert archive(make_context(), Pacer(0), False) == NOTHING
    assert objects(s3) == {}


def test_a_run_that_stops_half_way_is_finished_by_the_next(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 35})
    before = stored(unswept_bench)
    monkeypatch.setattr(message_file, "BATCH_SIZE", 10)
    pacer = Pacer(600)
    delete_lines = delete_messages

    def delete_and_run_out(*arguments: Any) -> int:
        monkeypatch.setattr(pacer, "_run_s", 0.0)
        return delete_lines(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(archiver, "delete_messages", delete_and_run_out)
        assert archive(make_context(), pacer, False)["messages"] == 10
    assert archive(make_context(), Pacer(600), False) == {**NOTHING, "recovered": 25}
    assert is_whole(unswept_bench, s3, before)


def test_without_a_bucket_nothing_runs(make_context: Any) -> None:
    context = make_context(archive_bucket=None)
    with pytest.raises(SettingsError, match="BBGRAM_ARCHIVE_BUCKET is not set"):
        archive(context, Pacer(600), False)
    with pytest.raises(SettingsError, match="BBGRAM_ARCHIVE_BUCKET is not set"):
        restore(context, Pacer(600), day(1), day(1))
