"""Objects of the archive that hold what a user wrote are written anew, and stay what the archive expects."""

import gzip
import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from functions.archive import restore
from functions.archive.archiver import archive
from functions.archive.bucket import ArchiveBucket
from functions.erasure import record
from functions.erasure.archive import SETTLED_S, ArchiveErasure
from functions.errors import ArchiveError
from functions.pacer import Pacer
from infra.store.erasures import Mode
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import (
    BUCKET,
    NOTHING,
    Archive,
    Crash,
    Restore,
    day,
    deliver,
    objects,
)
from tests.integration.functions.conftest import ContextFactory, Eraser


def lines(s3: Any) -> list[dict[str, Any]]:
    """Return all archived messages."""
    return [json.loads(line) for body in objects(s3).values() for line in gzip.decompress(body).splitlines()]


def texts(s3: Any, person: Any) -> list[str]:
    """Return what a person wrote, as the archive has it."""
    return [line["text"] for line in lines(s3) if line["sender_id"] == str(person[0])]


@pytest.fixture
def eraser(unswept_bench: WorkerBench, make_eraser: Callable[[WorkerBench], Eraser]) -> Eraser:
    return make_eraser(unswept_bench)


def test_texts_are_erased_from_every_object_and_tombstones_stay(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser
) -> None:
    chat_id, alice, bob = make_chat({200: 9, 100: 300})
    _, carol, _ = make_chat({200: 6})
    run()
    others = texts(s3, bob), texts(s3, carol)
    manifest = eraser(alice[0])
    assert manifest.complete
    assert set(texts(s3, alice)) == {""}
    assert (texts(s3, bob), texts(s3, carol)) == others
    erased = [line for line in lines(s3) if line["sender_id"] == str(alice[0])]
    assert all(line["deleted_at"] and line["client_id"] is None for line in erased)
    assert len({line["change"] for line in erased}) == len(erased)
    seqs = [line["seq"] for line in lines(s3) if line["chat_id"] == chat_id]
    assert seqs == list(range(1, 310))
    assert manifest.counts["archive"] == {"messages": len(erased), "objects": 2}


def test_objects_are_still_what_the_archive_expects(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser, make_context: ContextFactory
) -> None:
    _, alice, _ = make_chat({100: 30})
    run()
    eraser(alice[0])
    assert run() == NOTHING
    bucket = ArchiveBucket.connect(make_context().settings)
    (name,) = bucket.objects(day(100))
    with bucket.verified(name) as copy:
        assert copy.facts.checksum.count == 30
    manifest = json.loads(s3.get_object(Bucket=BUCKET, Key=f"archive/{name.manifest_path}")["Body"].read())
    assert manifest["sha256"] == copy.facts.checksum.sha256


def test_what_is_restored_later_is_a_tombstone_that_sync_finds(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive, bring_back: Restore, eraser: Eraser
) -> None:
    chat_id, alice, bob = make_chat({100: 30})
    run()
    eraser(alice[0])
    assert bring_back(100)["messages"] == 30
    rows = unswept_bench.rows("SELECT * FROM messages WHERE sender_id = :a", a=alice[0])
    assert {row.text for row in rows} == {""}
    assert unswept_bench.rows("SELECT count(*) AS n FROM changed_messages")[0].n == len(rows)
    asked = unswept_bench.event(bob[0], "sync", {"cursors": {chat_id: {"seq": 30, "change": 0}}})
    (gap,) = unswept_bench.ask(asked).ack(asked)["chats"]
    assert len(gap["changes"]) == len(rows)


def test_a_restored_day_is_erased_in_both_places(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, bring_back: Restore, eraser: Eraser
) -> None:
    _, alice, _ = make_chat({100: 12})
    run()
    bring_back(100)
    eraser(alice[0])
    unswept_bench.rows("UPDATE archive_holds SET until = now()")
    run()
    bring_back(100)
    assert set(texts(s3, alice)) == {""}
    rows = unswept_bench.rows("SELECT text FROM messages WHERE sender_id = :a", a=alice[0])
    assert {row.text for row in rows} == {""}


def test_a_restore_that_has_read_an_object_before_brings_no_text_back(
    unswept_bench: WorkerBench,
    make_chat: Any,
    run: Archive,
    bring_back: Restore,
    eraser: Eraser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, alice, _ = make_chat({100: 12})
    run()
    put_back = restore._put_back

    def put_back_late(*arguments: Any) -> None:
        monkeypatch.setattr(restore, "_put_back", put_back)
        eraser(alice[0])
        put_back(*arguments)

    monkeypatch.setattr(restore, "_put_back", put_back_late)
    assert bring_back(100)["messages"] == 12
    rows = unswept_bench.rows("SELECT text FROM messages WHERE sender_id = :a", a=alice[0])
    assert {row.text for row in rows} == {""}


def test_reactions_and_notes_go_too(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, eraser: Eraser
) -> None:
    chat_id, alice, bob = make_chat({100: 4})
    asked = [
        unswept_bench.event(who[0], "react", {"chatId": chat_id, "seq": 1, "emoji": "👍", "on": True})
        for who in (alice, bob)
    ]
    note = unswept_bench.event(alice[0], "send_message", {"userId": str(alice[0]), "text": "my secret"})
    reply = unswept_bench.ask(*asked, note)
    deliver(unswept_bench, reply.ack(note)["message"]["chatId"])
    unswept_bench.rows(
        "UPDATE messages SET created_at = created_at - interval '100 days' WHERE text = 'my secret'"
    )
    run()
    assert "my secret" in [line["text"] for line in lines(s3)]
    manifest = eraser(bob[0], Mode.DELETE)
    (first,) = [line for line in lines(s3) if line["seq"] == 1 and line["chat_id"] == chat_id]
    assert first.get("reactions") in (None, [["👍", str(alice[0])]])
    assert manifest.complete
    assert eraser(alice[0], Mode.ANONYMISE).counts["archive"] == {"messages": 1, "objects": 1}
    assert "my secret" not in [line["text"] for line in lines(s3)]


def test_anonymised_messages_stay_in_the_archive(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser
) -> None:
    _, alice, _ = make_chat({100: 12})
    run()
    before = objects(s3)
    assert eraser(alice[0], Mode.ANONYMISE).complete
    assert objects(s3) == before


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (ArchiveErasure, "_rewrite"),
        (ArchiveErasure, "_next_changes"),
        (ArchiveErasure, "_move"),
        (ArchiveBucket, "replace"),
        (ArchiveBucket, "_put"),
        (ArchiveBucket, "put_manifest"),
        (ArchiveBucket, "delete_old_versions"),
        (record, "count"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_run_that_dies_at_a_step_is_completed_by_the_next(
    make_chat: Any,
    s3: Any,
    run: Archive,
    eraser: Eraser,
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    when: str,
    nth: int,
) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    _, alice, bob = make_chat({200: 9, 100: 9})
    run()
    kept = texts(s3, bob)
    original = getattr(place, name)
    calls = iter(range(1, nth + 1))

    def die(*arguments: Any) -> Any:
        last = next(calls, None) == nth
        if last and when == "before":
            raise Crash
        result = original(*arguments)
        if last:
            raise Crash
        return result

    with monkeypatch.context() as patch:
        patch.setattr(place, name, die)
        with pytest.raises(Crash):
            eraser(alice[0])
    manifest = eraser(alice[0])
    assert manifest.complete
    assert set(texts(s3, alice)) == {""}
    assert texts(s3, bob) == kept
    assert manifest.counts["archive"] == {"messages": 12, "objects": 2}
    versions = s3.list_object_versions(Bucket=BUCKET)["Versions"]
    assert [version["Key"] for version in versions if version["Key"].endswith(".gz")] == sorted(objects(s3))
    assert run() == NOTHING


def test_an_object_that_another_erasure_writes_meanwhile_loses_both_texts(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, alice, bob = make_chat({100: 9})
    run()
    replace = ArchiveBucket.replace

    def replace_second(*arguments: Any) -> bool:
        monkeypatch.setattr(ArchiveBucket, "replace", replace)
        eraser(bob[0])
        return replace(*arguments)

    monkeypatch.setattr(ArchiveBucket, "replace", replace_second)
    eraser(alice[0])
    assert {line["text"] for line in lines(s3)} == {""}
    assert run() == NOTHING


def test_what_a_run_of_archive_writes_meanwhile_is_erased_by_the_next(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, alice, _ = make_chat({100: 9})
    put = ArchiveBucket.put

    def put_late(*arguments: Any) -> bool:
        eraser(alice[0])
        return put(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ArchiveBucket, "put", put_late)
        run()
    assert set(texts(s3, alice)) != {""}
    run()
    assert set(texts(s3, alice)) == {""}


def test_an_object_that_cannot_be_read_stops_neither_other_erasures_nor_the_archive(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser
) -> None:
    _, alice, bob = make_chat({200: 9})
    run()
    (damaged,) = objects(s3)
    for person in (alice, bob):
        eraser(person[0])
    body = s3.get_object(Bucket=BUCKET, Key=damaged)
    s3.put_object(Bucket=BUCKET, Key=damaged, Body=b"damaged", Metadata=body["Metadata"])
    make_chat({100: 6})
    with structlog.testing.capture_logs() as logs, pytest.raises(ArchiveError):
        run()
    assert [line["event"] for line in logs if line.get("function") == "erasure"] == ["object_skipped"] * 2
    assert len(objects(s3)) == 2


def test_looking_for_erased_users_leaves_time_for_the_archive(
    make_chat: Any, make_context: ContextFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 9})

    clock: Any = SimpleNamespace(monotonic=lambda: clock.now, sleep=lambda _: None, now=0.0)

    def take_all_time(_: Any, __: Any, pacer: Pacer) -> list[ArchiveError]:
        while not pacer.out_of_time:
            clock.now += 1.0
        return []

    monkeypatch.setattr("functions.pacer.time", clock)
    monkeypatch.setattr("functions.archive.archiver.erase_again", take_all_time)
    assert archive(make_context(), Pacer(600), dry_run=False)["messages"] == 9


def test_an_erasure_is_looked_at_again_for_a_day(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive, eraser: Eraser
) -> None:
    _, alice, _ = make_chat({100: 9})
    manifest = eraser(alice[0])
    assert "objects that a run of archive is writing meanwhile" in {left.what for left in manifest.left}
    settled = "SELECT archive_settled FROM erasures"
    run()
    assert unswept_bench.rows(settled) == [(False,)]
    unswept_bench.rows(
        "UPDATE erasures SET started_at = started_at - make_interval(secs => :s)", s=SETTLED_S + 1
    )
    run()
    assert unswept_bench.rows(settled) == [(True,)]


def test_a_dry_run_of_archive_writes_nothing(
    make_chat: Any, s3: Any, make_context: ContextFactory, eraser: Eraser
) -> None:
    _, alice, _ = make_chat({100: 9})
    eraser(alice[0])
    archive(make_context(), Pacer(600), dry_run=True)
    assert objects(s3) == {}


def test_a_damaged_object_is_named_and_the_others_are_erased(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser
) -> None:
    _, alice, _ = make_chat({200: 9, 100: 9})
    run()
    damaged, intact = objects(s3)
    body = s3.get_object(Bucket=BUCKET, Key=damaged)
    s3.put_object(Bucket=BUCKET, Key=damaged, Body=b"damaged", Metadata=body["Metadata"])
    with pytest.raises(ArchiveError):
        eraser(alice[0])
    left = [json.loads(line) for line in gzip.decompress(objects(s3)[intact]).splitlines()]
    assert {line["text"] for line in left if line["sender_id"] == str(alice[0])} == {""}
    s3.delete_object(Bucket=BUCKET, Key=damaged)
    assert eraser(alice[0]).complete


def test_old_versions_that_may_not_be_deleted_are_named_and_tried_again(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    _, alice, _ = make_chat({100: 9})
    run()
    with monkeypatch.context() as patch:
        patch.setattr(ArchiveBucket, "delete_old_versions", lambda *_: False)
        for _ in range(2):
            manifest = eraser(alice[0])
            assert "old versions of objects" in {left.what for left in manifest.left}
    manifest = eraser(alice[0])
    assert "old versions of objects" not in {left.what for left in manifest.left}
    versions = s3.list_object_versions(Bucket=BUCKET)["Versions"]
    assert sum(version["Key"].endswith(".gz") for version in versions) == 1


def test_old_versions_are_named_until_each_was_tried_again(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of `archive` looks at new objects only."""
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    _, alice, _ = make_chat({100: 9})
    run()
    monkeypatch.setattr(ArchiveBucket, "delete_old_versions", lambda *_: False)
    monkeypatch.setattr("functions.erasure.archive._CLOCKS", timedelta(hours=-1))
    eraser(alice[0])
    run()
    assert "old versions of objects" in {left.what for left in eraser(alice[0]).left}


def test_a_run_out_of_time_goes_on_with_the_next_object(
    make_chat: Any, s3: Any, run: Archive, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, alice, _ = make_chat({200: 9, 100: 9})
    run()
    monkeypatch.setattr(Pacer, "pause", lambda self: None)

    class UntilOneIsWritten(Pacer):
        @property
        def out_of_time(self) -> bool:
            return "" in texts(s3, alice)

    manifest = eraser(alice[0], pacer=UntilOneIsWritten(600))
    assert not manifest.complete
    assert set(texts(s3, alice)) != {""}
    assert eraser(alice[0]).counts["archive"] == {"messages": 12, "objects": 2}
    assert set(texts(s3, alice)) == {""}
