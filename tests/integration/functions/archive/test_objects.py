"""What an object holds, and which objects there are."""

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any

import pytest
from sqlalchemy import text

from functions.archive import message_file, selection
from functions.archive.archiver import archive
from functions.archive.bucket import ArchiveBucket
from functions.pacer import Pacer
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import (
    BUCKET,
    TEXTS,
    Archive,
    Restore,
    day,
    is_whole,
    objects,
    stored,
)


def test_a_line_holds_the_message_in_the_documented_format(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive
) -> None:
    make_chat({100: len(TEXTS)})
    before = stored(unswept_bench)
    run()
    ((key, body),) = objects(s3).items()
    for line, row in zip(gzip.decompress(body).split(b"\n"), before, strict=False):
        found = json.loads(line)
        assert list(found) == [
            *("chat_id", "seq", "id", "sender_id", "recipient_id", "text", "client_id", "created_at")
        ]
        created_at = row[7].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        expected = (str(row[0]), row[1], *map(str, row[2:5]), *row[5:7], created_at)
        assert tuple(found.values()) == expected
    manifest = json.loads(
        s3.get_object(Bucket=BUCKET, Key=key.replace(".jsonl.gz", ".manifest.json"))["Body"].read()
    )
    assert (manifest["format"], manifest["object"], manifest["count"], manifest["chats"]) == (1, key, 6, 1)
    assert manifest["bytes"] == len(body)
    assert manifest["first_created_at"] < manifest["last_created_at"]
    metadata = s3.head_object(Bucket=BUCKET, Key=key)["Metadata"]
    assert metadata == {"count": "6", "sha256": manifest["sha256"]}


def test_the_same_rows_make_the_same_bytes(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, bring_back: Restore
) -> None:
    make_chat({100: 60})
    run()
    first = objects(s3)
    bring_back(100, archive_hold_days=0)
    for key in first:
        s3.delete_object(Bucket=BUCKET, Key=key)
        s3.delete_object(Bucket=BUCKET, Key=key.replace(".jsonl.gz", ".manifest.json"))
    run()
    assert objects(s3) == first


def test_each_shard_has_an_object(unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive) -> None:
    for _ in range(12):
        make_chat({100: 1})
    before = stored(unswept_bench)
    tails = {row[0].bytes[-1] % 3 for row in before}
    assert run(archive_shards=3)["objects"] == len(tails)
    keys = [f"archive/day={day(100)}/shard={tail}-of-3/1.jsonl.gz" for tail in sorted(tails)]
    assert list(objects(s3)) == keys
    assert is_whole(unswept_bench, s3, before)


def test_chats_are_walked_in_slices(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        make_chat({100: 50})
    before = stored(unswept_bench)
    oldest = str(selection._OLDEST).replace("LIMIT 1000", "LIMIT 2")
    monkeypatch.setattr(selection, "_CHATS", 2)
    monkeypatch.setattr(selection, "_OLDEST", text(oldest))
    monkeypatch.setattr(selection, "BATCH_SIZE", 7)
    assert run()["messages"] == 250
    assert is_whole(unswept_bench, s3, before)


def test_an_object_is_never_overwritten(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 5})
    before = stored(unswept_bench)
    run()
    first = objects(s3)
    make_chat({100: 6})
    before = sorted(before + stored(unswept_bench))
    listed, put = ArchiveBucket.objects, ArchiveBucket.put
    unseen = iter([True])
    outcomes = []

    def put_and_note(*arguments: Any) -> bool:
        outcomes.append(put(*arguments))
        return outcomes[-1]

    monkeypatch.setattr(ArchiveBucket, "objects", lambda *args: [] if next(unseen, None) else listed(*args))
    monkeypatch.setattr(ArchiveBucket, "put", put_and_note)
    assert run()["messages"] == 6
    assert outcomes == [False, True]
    assert objects(s3).items() > first.items()
    assert is_whole(unswept_bench, s3, before)


def test_two_runs_at_once_make_each_object_once(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        make_chat({110: 3, 100: 60})
    before = stored(unswept_bench)
    monkeypatch.setattr(message_file, "BATCH_SIZE", 10)
    meet = threading.Barrier(2)
    outcomes: list[bool] = []
    put = ArchiveBucket.put

    def put_together(*arguments: Any) -> bool:
        if len(outcomes) < 2:
            meet.wait(10)
        outcomes.append(put(*arguments))
        return outcomes[-1]

    monkeypatch.setattr(ArchiveBucket, "put", put_together)
    contexts = [make_context(), make_context()]
    with ThreadPoolExecutor(2) as pool:
        summaries = list(pool.map(lambda context: archive(context, Pacer(600), False), contexts))
    assert sorted(outcomes[:2]) == [False, True]
    assert sum(summary["messages"] + summary["recovered"] for summary in summaries) == len(before)
    assert stored(unswept_bench) == []
    assert len(objects(s3)) == 2
    assert is_whole(unswept_bench, s3, before)
