"""A damaged object is found, and nothing is deleted."""

import gzip
import hashlib
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from functions.archive.bucket import ArchiveBucket
from functions.errors import ArchiveError
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import (
    BUCKET,
    Archive,
    Crash,
    Restore,
    archived,
    noted,
    objects,
    stored,
)


@pytest.mark.parametrize("damage", ["cut", "changed", "exchanged", "unmarked"])
def test_a_damaged_object_is_found_and_nothing_is_deleted(
    unswept_bench: WorkerBench,
    make_chat: Any,
    s3: Any,
    run: Archive,
    crash: Any,
    bring_back: Restore,
    damage: str,
) -> None:
    make_chat({100: 40})
    before = stored(unswept_bench)
    crash(1)
    with pytest.raises(Crash):
        run()
    ((key, body),) = objects(s3).items()
    metadata = s3.head_object(Bucket=BUCKET, Key=key)["Metadata"]
    lines = gzip.decompress(body)
    other = gzip.compress(lines.replace(b"Hello", b"Hullo"))
    body = {"cut": body[:-20], "changed": body[:50] + b"\0" + body[51:], "exchanged": other}.get(damage, body)
    if damage == "unmarked":
        metadata = {}
    s3.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata=metadata)
    with pytest.raises(ArchiveError, match=key):
        run()
    with pytest.raises(ArchiveError, match=key):
        bring_back(100)
    assert stored(unswept_bench) == before
    assert noted(unswept_bench) == []


def test_an_object_that_its_manifest_does_not_know_is_found(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, crash: Any
) -> None:
    make_chat({100: 40})
    crash(2)
    with pytest.raises(Crash):
        run()
    left = stored(unswept_bench)
    ((key, body),) = objects(s3).items()
    other = gzip.compress(gzip.decompress(body).replace(b"Hello", b"Hullo"))
    metadata = {"count": "40", "sha256": hashlib.sha256(other).hexdigest()}
    s3.put_object(Bucket=BUCKET, Key=key, Body=other, Metadata=metadata)
    with pytest.raises(ArchiveError, match=key):
        run()
    assert stored(unswept_bench) == left


def test_data_corrupted_by_s3_is_found_before_anything_is_deleted(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 3})
    before = stored(unswept_bench)
    put = ArchiveBucket.put

    def spoil(bucket: ArchiveBucket, name: Any, *rest: Any) -> bool:
        done = put(bucket, name, *rest)
        body = gzip.compress(b"")
        metadata = {"count": "0", "sha256": "0"}
        s3.put_object(Bucket=BUCKET, Key=f"archive/{name.path}", Body=body, Metadata=metadata)
        return done

    monkeypatch.setattr(ArchiveBucket, "put", spoil)
    with pytest.raises(ArchiveError):
        run()
    assert stored(unswept_bench) == before


def test_rows_that_stay_locked_keep_no_other_day_from_the_archive(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive
) -> None:
    locked, _, _ = make_chat({100: 4})
    make_chat({99: 4})
    with unswept_bench.engine.begin() as conn:
        conn.execute(text("SELECT FROM messages WHERE chat_id = :c AND seq = 2 FOR UPDATE"), {"c": locked})
        with pytest.raises(ArchiveError, match="locked"):
            run()
    assert [str(row[0]) for row in stored(unswept_bench)] == [locked] * 4
    assert run()["recovered"] == 4
    assert stored(unswept_bench) == []


def test_a_row_that_cannot_be_deleted_keeps_no_other_from_the_archive(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive
) -> None:
    make_chat({100: 4, 99: 4})
    bad, _, _ = make_chat({100: 4})
    make_chat({98: 4})
    unswept_bench.rows(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'refused'; END $$"
    )
    unswept_bench.rows(
        "CREATE TRIGGER refuse BEFORE DELETE ON messages FOR EACH ROW"
        f" WHEN (OLD.chat_id = '{bad}' AND OLD.seq = 2) EXECUTE FUNCTION refuse()"
    )
    try:
        for _ in range(2):
            with capture_logs() as logs, pytest.raises(ArchiveError, match=r"1 rows of .* cannot be deleted"):
                run()
            assert [line["event"] for line in logs if line["log_level"] == "error"] == ["object_skipped"]
            # Nothing is lost, and nothing is written twice.
            assert [(str(row[0]), row[1]) for row in stored(unswept_bench)] == [(bad, 2)]
            assert len(archived(s3)) == len(set(archived(s3))) == 16
    finally:
        unswept_bench.rows("DROP FUNCTION refuse CASCADE")
