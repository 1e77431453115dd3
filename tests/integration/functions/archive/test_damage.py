"""A damaged object is found, and nothing is deleted."""

import gzip
import hashlib
from typing import Any

import pytest

from functions.archive.bucket import ArchiveBucket
from functions.errors import ArchiveError
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import (
    BUCKET,
    Archive,
    Crash,
    Restore,
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
