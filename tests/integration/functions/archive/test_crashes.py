"""A run that dies at any point loses and duplicates nothing: the next one completes it."""

from typing import Any

import pytest

from functions.archive.bucket import ArchiveBucket
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import (
    BUCKET,
    NOTHING,
    Archive,
    Crash,
    is_whole,
    objects,
    stored,
)


@pytest.mark.parametrize(("at", "gone"), [(1, 0), (3, 20)], ids=["before deleting", "half-way"])
def test_the_run_after_a_crash_loses_and_duplicates_nothing(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, crash: Any, at: int, gone: int
) -> None:
    make_chat({100: 45, 5: 3})
    before = stored(unswept_bench)
    crash(at)
    with pytest.raises(Crash):
        run()
    assert len(stored(unswept_bench)) == len(before) - gone
    first = objects(s3)
    assert run() == {**NOTHING, "recovered": 45 - gone}
    assert objects(s3) == first
    assert is_whole(unswept_bench, s3, before)
    assert run() == NOTHING


def test_a_crash_is_recovered_from_after_the_number_of_shards_has_changed(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, crash: Any
) -> None:
    make_chat({100: 25})
    make_chat({100: 25})
    before = stored(unswept_bench)
    crash(1)
    with pytest.raises(Crash):
        run()
    summary = run(archive_shards=4)
    assert (summary["recovered"], summary["objects"]) == (50, 0)
    assert is_whole(unswept_bench, s3, before)


def test_a_crash_before_the_manifest_leaves_it_to_the_next_run(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 5})

    def die(*_: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(ArchiveBucket, "put_manifest", die)
        with pytest.raises(Crash):
            run()
    assert len(stored(unswept_bench)) == 5
    run()
    ((key, _),) = objects(s3).items()
    s3.head_object(Bucket=BUCKET, Key=key.replace(".jsonl.gz", ".manifest.json"))
    assert stored(unswept_bench) == []


def test_a_row_that_is_not_in_the_object_is_not_deleted(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, crash: Any
) -> None:
    chat_id, *_ = make_chat({100: 5})
    crash(1)
    with pytest.raises(Crash):
        run()
    unswept_bench.rows(
        "UPDATE messages SET id = gen_random_uuid() WHERE chat_id = :chat AND seq = 3", chat=chat_id
    )
    summary = run()
    assert (summary["recovered"], summary["messages"], summary["objects"]) == (4, 1, 1)
    assert len(objects(s3)) == 2
