"""The archive: old messages go to S3 and come back, and nothing is lost or doubled on the way."""

import gzip
import hashlib
import json
import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from time import sleep
from typing import Any

import pytest
from moto import mock_aws
from sqlalchemy import text

from functions import archive as archive_module
from functions import archive_lines, archive_rows
from functions.archive import archive
from functions.archive_store import ArchiveError, ArchiveStore, make_client
from functions.context import Context, Stopwatch, Summary
from functions.restore import restore
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from infra.wire.batch import Event
from tests.harness.engines import Engines, Store
from tests.harness.relay import RelayBench
from tests.integration.test_statements import counted

BUCKET = "old-messages"
LONGEST_TEST_S = 20
WORDS = ("Hello", "two\nlines\r\n", "🎉 Grüße 你好", "\"quotes\" 'and' \\backslash", "\u2028 \x01 \x7f", "{}")
NOTHING: Summary = {"messages": 0, "objects": 0, "bytes": 0, "days": 0, "recovered": 0}

Archive = Callable[..., Summary]
Restore = Callable[..., Summary]
Row = tuple[Any, ...]


class NoQueue:
    def put(self, notification_ids: Collection[uuid.UUID]) -> None:
        raise AssertionError("the archive notifies nobody")


class Crash(Exception):
    """What a process that is killed does not raise, but looks like from outside."""


@pytest.fixture(scope="module")
def bench_store(engines: Engines) -> Iterator[Store]:
    """A store of this module's own: the archive would take what other tests have left."""
    store = engines.new_store()
    yield store
    engines.release(store)


@pytest.fixture
def bench(make_bench: Callable[..., RelayBench]) -> RelayBench:
    bench = make_bench(sweep_after_s=100_000.0)
    bench.rows("TRUNCATE profiles, archive_holds CASCADE")
    return bench


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for variable in [name for name in os.environ if name.startswith(("AWS_", "BBGRAM_"))]:
        monkeypatch.delenv(variable)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = make_client()
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def make_context(bench_store: Store, s3: Any) -> Iterator[Callable[..., Context]]:
    made: list[Context] = []

    def make(**options: Any) -> Context:
        given = {"database_url": bench_store.database_url, "archive_bucket": BUCKET, **options}
        made.append(Context.make(FunctionSettings(**given), NoQueue()))
        return made[-1]

    yield make
    for context in made:
        context.engine.dispose()


@pytest.fixture
def run(make_context: Callable[..., Context]) -> Archive:
    def run(*, dry_run: bool = False, **options: Any) -> Summary:
        return archive(make_context(**options), Stopwatch(600), dry_run)

    return run


@pytest.fixture
def bring_back(make_context: Callable[..., Context]) -> Restore:
    def bring_back(first: int, last: int | None = None, *, dry_run: bool = False, **options: Any) -> Summary:
        days = day(first), day(first if last is None else last)
        return restore(make_context(**options), Stopwatch(600), *days, dry_run)

    return bring_back


@pytest.fixture
def make_chat(bench: RelayBench) -> Callable[..., tuple[str, Any, Any]]:
    """Return a factory for chats with so many messages of so many days ago, oldest first."""

    def make(ages: dict[int, int], *, delivered: bool = True) -> tuple[str, Any, Any]:
        alice, bob = bench.people("alice", "bob")
        chat_id = ""
        for days_ago, count in ages.items():
            events = [speak(bench, *((alice, bob) if n % 3 else (bob, alice)), n) for n in range(count)]
            chat_id = bench.ask(*events).ack(events[0])["message"]["chatId"]
            bench.rows(
                "UPDATE messages SET created_at = CAST(:at AS timestamptz) + seq * interval '1.000001 s' "
                "WHERE chat_id = :chat AND seq > (SELECT last_seq FROM chats WHERE id = :chat) - :count",
                at=f"{day(days_ago)} 12:00:00.000001+00",
                chat=chat_id,
                count=count,
            )
        if delivered:
            deliver(bench, chat_id)
        return chat_id, alice, bob

    return make


def speak(bench: RelayBench, sender: Any, recipient: Any, number: int) -> Event:
    more: dict[str, Any] = {} if number % 2 else {"clientId": uuid.uuid4().hex}
    return bench.send(sender[0], recipient[1], f"{WORDS[number % len(WORDS)]} {number}", **more)


@pytest.fixture(autouse=True)
def _one_day_for_the_whole_test() -> None:
    """Let no test run over midnight (UTC): what it calls 100 days ago must stay the same day."""
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), time(tzinfo=UTC))
    if (left_s := (midnight - now).total_seconds()) < LONGEST_TEST_S:
        sleep(left_s)


def day(days_ago: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days_ago)


def deliver(bench: RelayBench, chat_id: str, up_to: int = 2**40) -> None:
    bench.rows(
        "UPDATE chat_members w SET delivered_seq = least(c.last_seq, :up_to) "
        "FROM chats c WHERE c.id = w.chat_id AND c.id = :chat",
        chat=chat_id,
        up_to=up_to,
    )


def stored(bench: RelayBench) -> list[Row]:
    return [tuple(row) for row in bench.rows("SELECT * FROM messages ORDER BY chat_id, seq")]


def objects(s3: Any) -> dict[str, bytes]:
    listed = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {
        entry["Key"]: s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        for entry in listed
        if entry["Key"].endswith(".gz")
    }


def archived(s3: Any) -> list[tuple[str, int]]:
    """Return chat and seq of all lines of all objects."""
    lines = [json.loads(line) for body in objects(s3).values() for line in gzip.decompress(body).splitlines()]
    return [(line["chat_id"], line["seq"]) for line in lines]


def noted(bench: RelayBench) -> list[tuple[str, int]]:
    """Return chat and seq of all that `archived_chats` knows."""
    rows = bench.rows(
        "SELECT chat_id, generate_series(lower(span), upper(span) - 1) AS seq "
        "FROM archived_chats, unnest(seqs) AS span ORDER BY chat_id, seq"
    )
    return [(str(row.chat_id), row.seq) for row in rows]


def is_whole(bench: RelayBench, s3: Any, before: list[Row]) -> bool:
    """Tell whether each message is in exactly one place, and the notes say so."""
    here = [(str(row[0]), row[1]) for row in stored(bench)]
    there = sorted(archived(s3))
    return sorted(here + there) == [(str(row[0]), row[1]) for row in before] and there == sorted(noted(bench))


def test_what_was_archived_comes_back_identical(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, bring_back: Restore
) -> None:
    make_chat({200: 7, 100: 150, 10: 5})
    make_chat({200: 30, 91: 1})
    make_chat({90: 4})
    before = stored(bench)
    summary = run()
    assert (summary["messages"], summary["objects"], summary["days"]) == (188, 3, 3)
    assert summary["bytes"] == sum(map(len, objects(s3).values()))
    assert list(objects(s3)) == [f"archive/day={day(ago)}/shard=0-of-1/1.jsonl.gz" for ago in (200, 100, 91)]
    assert len(stored(bench)) == 9
    assert is_whole(bench, s3, before)
    assert bring_back(200, 91) == {"messages": 188, "skipped": 0, "objects": 3}
    assert stored(bench) == before
    assert bench.rows("SELECT * FROM archived_chats") == []
    assert bring_back(200, 91) == {"messages": 0, "skipped": 0, "objects": 3}
    assert stored(bench) == before


def test_a_line_holds_the_message_in_the_documented_format(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive
) -> None:
    make_chat({100: len(WORDS)})
    before = stored(bench)
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
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, bring_back: Restore
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


def test_each_shard_has_an_object(bench: RelayBench, make_chat: Any, s3: Any, run: Archive) -> None:
    for _ in range(12):
        make_chat({100: 1})
    before = stored(bench)
    tails = {row[0].bytes[-1] % 3 for row in before}
    assert run(archive_shards=3)["objects"] == len(tails)
    keys = [f"archive/day={day(100)}/shard={tail}-of-3/1.jsonl.gz" for tail in sorted(tails)]
    assert list(objects(s3)) == keys
    assert is_whole(bench, s3, before)


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what makes the next run die when it deletes the n-th batch."""

    def crash(at: int) -> None:
        calls = iter(range(1, at + 1))

        def delete(*arguments: Any) -> int:
            if next(calls, None) == at:
                monkeypatch.setattr(archive_module, "delete_lines", archive_rows.delete_lines)
                raise Crash
            return archive_rows.delete_lines(*arguments)

        monkeypatch.setattr(archive_module, "delete_lines", delete)
        monkeypatch.setattr(archive_lines, "BATCH", 10)

    return crash


@pytest.mark.parametrize(("at", "gone"), [(1, 0), (3, 20)], ids=["before deleting", "half-way"])
def test_the_run_after_a_crash_loses_and_doubles_nothing(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, crash: Any, at: int, gone: int
) -> None:
    make_chat({100: 45, 5: 3})
    before = stored(bench)
    crash(at)
    with pytest.raises(Crash):
        run()
    assert len(stored(bench)) == len(before) - gone
    first = objects(s3)
    assert run() == {**NOTHING, "recovered": 45 - gone}
    assert objects(s3) == first
    assert is_whole(bench, s3, before)
    assert run() == NOTHING


def test_a_crash_is_mended_after_the_number_of_shards_has_changed(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, crash: Any
) -> None:
    make_chat({100: 25})
    make_chat({100: 25})
    before = stored(bench)
    crash(1)
    with pytest.raises(Crash):
        run()
    summary = run(archive_shards=4)
    assert (summary["recovered"], summary["objects"]) == (50, 0)
    assert is_whole(bench, s3, before)


def test_a_crash_before_the_manifest_leaves_it_to_the_next_run(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 5})

    def die(*_: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(ArchiveStore, "put_manifest", die)
        with pytest.raises(Crash):
            run()
    assert len(stored(bench)) == 5
    run()
    ((key, _),) = objects(s3).items()
    s3.head_object(Bucket=BUCKET, Key=key.replace(".jsonl.gz", ".manifest.json"))
    assert stored(bench) == []


def test_what_nobody_has_got_stays_and_goes_later_into_a_part_of_its_own(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive
) -> None:
    chat_id, alice, bob = make_chat({100: 9, 95: 2}, delivered=False)
    make_chat({100: 2})
    before = stored(bench)
    bench.rows("UPDATE chat_members SET read_seq = 4 WHERE user_id = :user", user=bob[0])
    bench.rows("UPDATE chat_members SET delivered_seq = 9 WHERE user_id = :user", user=alice[0])
    assert (run()["messages"], bench.seqs(chat_id)) == (6, [5, 6, 7, 8, 9, 10, 11])
    assert run() == NOTHING
    deliver(bench, chat_id)
    assert (run()["messages"], bench.seqs(chat_id)) == (7, [])
    assert [key.rpartition("/")[2] for key in objects(s3)] == ["1.jsonl.gz", "2.jsonl.gz", "1.jsonl.gz"]
    assert is_whole(bench, s3, before)


def test_an_object_is_never_overwritten(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 5})
    before = stored(bench)
    run()
    first = objects(s3)
    make_chat({100: 6})
    before = sorted(before + stored(bench))
    parts, put = ArchiveStore.parts, ArchiveStore.put
    unseen = iter([True])
    outcomes = []

    def put_and_note(*arguments: Any) -> bool:
        outcomes.append(put(*arguments))
        return outcomes[-1]

    monkeypatch.setattr(ArchiveStore, "parts", lambda *args: [] if next(unseen, None) else parts(*args))
    monkeypatch.setattr(ArchiveStore, "put", put_and_note)
    assert run()["messages"] == 6
    assert outcomes == [False, True]
    assert objects(s3).items() > first.items()
    assert is_whole(bench, s3, before)


@pytest.mark.parametrize("damage", ["cut", "changed", "exchanged", "unmarked"])
def test_a_damaged_object_is_found_and_nothing_is_deleted(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, crash: Any, bring_back: Restore, damage: str
) -> None:
    make_chat({100: 40})
    before = stored(bench)
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
    assert stored(bench) == before
    assert noted(bench) == []


def test_an_object_that_its_manifest_does_not_know_is_found(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, crash: Any
) -> None:
    make_chat({100: 40})
    crash(2)
    with pytest.raises(Crash):
        run()
    left = stored(bench)
    ((key, body),) = objects(s3).items()
    other = gzip.compress(gzip.decompress(body).replace(b"Hello", b"Hullo"))
    metadata = {"count": "40", "sha256": hashlib.sha256(other).hexdigest()}
    s3.put_object(Bucket=BUCKET, Key=key, Body=other, Metadata=metadata)
    with pytest.raises(ArchiveError, match=key):
        run()
    assert stored(bench) == left


def test_a_row_that_is_not_in_the_object_is_not_deleted(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, crash: Any
) -> None:
    chat_id, *_ = make_chat({100: 5})
    crash(1)
    with pytest.raises(Crash):
        run()
    bench.rows("UPDATE messages SET id = gen_random_uuid() WHERE chat_id = :chat AND seq = 3", chat=chat_id)
    summary = run()
    assert (summary["recovered"], summary["messages"], summary["objects"]) == (4, 1, 1)
    assert len(objects(s3)) == 2


def test_what_s3_kept_wrongly_is_found_before_anything_is_deleted(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 3})
    before = stored(bench)
    put = ArchiveStore.put

    def spoil(store: ArchiveStore, part: Any, *rest: Any) -> bool:
        done = put(store, part, *rest)
        body = gzip.compress(b"")
        metadata = {"count": "0", "sha256": "0"}
        s3.put_object(Bucket=BUCKET, Key=f"archive/{part.name}.jsonl.gz", Body=body, Metadata=metadata)
        return done

    monkeypatch.setattr(ArchiveStore, "put", spoil)
    with pytest.raises(ArchiveError):
        run()
    assert stored(bench) == before


def test_two_runs_at_once_make_each_object_once(
    bench: RelayBench, make_chat: Any, s3: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        make_chat({110: 3, 100: 60})
    before = stored(bench)
    monkeypatch.setattr(archive_lines, "BATCH", 10)
    meet = threading.Barrier(2)
    outcomes: list[bool] = []
    put = ArchiveStore.put

    def put_together(*arguments: Any) -> bool:
        if len(outcomes) < 2:
            meet.wait(10)
        outcomes.append(put(*arguments))
        return outcomes[-1]

    monkeypatch.setattr(ArchiveStore, "put", put_together)
    contexts = [make_context(), make_context()]
    with ThreadPoolExecutor(2) as pool:
        summaries = list(pool.map(lambda context: archive(context, Stopwatch(600), False), contexts))
    assert sorted(outcomes[:2]) == [False, True]
    assert sum(summary["messages"] + summary["recovered"] for summary in summaries) == len(before)
    assert stored(bench) == []
    assert len(objects(s3)) == 2
    assert is_whole(bench, s3, before)


def test_a_restored_day_stays_until_its_hold_is_over(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, bring_back: Restore
) -> None:
    chat_id, *_ = make_chat({110: 3, 100: 4, 95: 2})
    before = stored(bench)
    run()
    assert bring_back(100)["messages"] == 4
    assert run() == NOTHING
    assert bench.seqs(chat_id) == [4, 5, 6, 7]
    bench.rows("UPDATE archive_holds SET until = now()")
    assert run() == {**NOTHING, "recovered": 4}
    assert len(objects(s3)) == 3
    assert is_whole(bench, s3, before)


def test_a_hold_that_begins_while_a_day_is_archived_is_respected(
    bench: RelayBench, make_chat: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 5})
    before = stored(bench)
    put_manifest = ArchiveStore.put_manifest

    def hold_first(*arguments: Any) -> None:
        bench.rows("INSERT INTO archive_holds VALUES (:day, now() + interval '1 day')", day=day(100))
        put_manifest(*arguments)

    monkeypatch.setattr(ArchiveStore, "put_manifest", hold_first)
    assert run()["messages"] == 0
    assert stored(bench) == before


def test_a_chat_whose_oldest_message_is_held_waits(bench: RelayBench, make_chat: Any, run: Archive) -> None:
    held, *_ = make_chat({110: 3, 100: 4})
    free, *_ = make_chat({100: 4})
    bench.rows("INSERT INTO archive_holds VALUES (:day, now() + interval '1 day')", day=day(110))
    assert run()["messages"] == 4
    assert (bench.seqs(held), bench.seqs(free)) == ([1, 2, 3, 4, 5, 6, 7], [])


def test_what_has_no_chat_any_more_is_skipped(
    bench: RelayBench, make_chat: Any, run: Archive, bring_back: Restore
) -> None:
    gone, *_ = make_chat({100: 3})
    kept, *_ = make_chat({100: 4})
    run()
    bench.rows("DELETE FROM chats WHERE id = :chat", chat=gone)
    assert bring_back(100) == {"messages": 4, "skipped": 3, "objects": 1}
    assert bench.seqs(kept) == [1, 2, 3, 4]


def test_a_dry_run_tells_what_would_be_moved_and_changes_nothing(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, bring_back: Restore
) -> None:
    make_chat({110: 3, 100: 30, 5: 1})
    make_chat({100: 2})
    before = stored(bench)
    assert run(dry_run=True) == {**NOTHING, "messages": 35, "objects": 2, "days": 2}
    assert (stored(bench), objects(s3)) == (before, {})
    run()
    left = stored(bench)
    assert bring_back(110, 100, dry_run=True) == {"messages": 35, "skipped": 0, "objects": 2}
    assert stored(bench) == left
    assert bench.rows("SELECT * FROM archive_holds") == []


def test_a_run_begins_nothing_when_its_time_is_over(
    bench: RelayBench, make_chat: Any, s3: Any, make_context: Any
) -> None:
    make_chat({100: 3})
    assert archive(make_context(), Stopwatch(0), False) == NOTHING
    assert objects(s3) == {}


def test_a_run_that_stops_half_way_is_finished_by_the_next(
    bench: RelayBench, make_chat: Any, s3: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 35})
    before = stored(bench)
    monkeypatch.setattr(archive_lines, "BATCH", 10)
    watch = Stopwatch(600)
    delete_lines = archive_rows.delete_lines

    def delete_and_run_out(*arguments: Any) -> int:
        monkeypatch.setattr(watch, "_run_s", 0.0)
        return delete_lines(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(archive_module, "delete_lines", delete_and_run_out)
        assert archive(make_context(), watch, False)["messages"] == 10
    assert archive(make_context(), Stopwatch(600), False) == {**NOTHING, "recovered": 25}
    assert is_whole(bench, s3, before)


def test_without_a_bucket_nothing_runs(make_context: Any) -> None:
    context = make_context(archive_bucket=None)
    with pytest.raises(SettingsError, match="BBGRAM_ARCHIVE_BUCKET is not set"):
        archive(context, Stopwatch(600), False)
    with pytest.raises(SettingsError, match="BBGRAM_ARCHIVE_BUCKET is not set"):
        restore(context, Stopwatch(600), day(1), day(1))


def test_chats_are_walked_in_slices(
    bench: RelayBench, make_chat: Any, s3: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        make_chat({100: 50})
    before = stored(bench)
    firsts = str(archive_rows._FIRSTS).replace("LIMIT 1000", "LIMIT 2")
    monkeypatch.setattr(archive_rows, "_CHATS", 2)
    monkeypatch.setattr(archive_rows, "_FIRSTS", text(firsts))
    monkeypatch.setattr(archive_rows, "BATCH", 7)
    assert run()["messages"] == 250
    assert is_whole(bench, s3, before)


def ask(bench: RelayBench, who: Any, name: str, payload: dict[str, Any]) -> Any:
    event = bench.event(who[0], name, payload)
    return bench.ask(event).ack(event)


def brief(page: Any) -> tuple[list[int], bool, int | None]:
    """Return the seqs of a page, whether there is more, and where the archive begins."""
    return [message["seq"] for message in page["messages"]], page["hasMore"], page.get("archivedBefore")


def test_pages_end_where_the_archive_begins(
    bench: RelayBench, make_chat: Any, run: Archive, bring_back: Restore
) -> None:
    chat_id, alice, bob = make_chat({110: 3, 100: 3, 95: 4, 10: 5})
    run()
    bring_back(100)

    def page(**asked: int) -> tuple[list[int], bool, int | None]:
        return brief(ask(bench, alice, "get_messages", {"chatId": chat_id, **asked}))

    assert page() == ([11, 12, 13, 14, 15], True, 11)
    assert page(limit=2) == ([14, 15], True, None)
    assert page(limit=5) == ([11, 12, 13, 14, 15], True, 11)
    assert page(before=13) == ([11, 12], True, 11)
    assert page(before=11) == ([4, 5, 6], False, 4)
    assert page(before=9, limit=2) == ([5, 6], True, None)
    assert page(before=4) == ([], False, 4)
    assert page(before=1) == ([], False, None)
    assert page(after=0) == ([4, 5, 6], True, 4)
    assert page(after=0, limit=1) == ([4], True, 4)
    assert page(after=4) == ([5, 6], True, None)
    assert page(after=6) == ([11, 12, 13, 14, 15], False, 11)
    assert page(after=12, limit=2) == ([13, 14], True, None)
    assert page(after=99) == ([], False, None)
    joined = ask(bench, alice, "join_chat", {"username": bob[1]})
    assert brief(joined) == ([11, 12, 13, 14, 15], True, 11)
    assert brief(ask(bench, alice, "join_chat", {"username": bob[1], "limit": 3})) == (
        [13, 14, 15],
        True,
        None,
    )


def test_pages_of_a_chat_that_is_in_the_archive_as_a_whole(
    bench: RelayBench, make_chat: Any, run: Archive
) -> None:
    chat_id, alice, bob = make_chat({100: 6})
    run()
    for asked in ({}, {"after": 0}, {"after": 6}, {"after": 99}, {"before": 99}):
        page = ask(bench, alice, "get_messages", {"chatId": chat_id, **asked})
        assert brief(page) == ([], False, 7), asked
    assert brief(ask(bench, alice, "join_chat", {"username": bob[1]})) == ([], False, 7)
    ((gap),) = ask(bench, alice, "sync", {"cursors": {}})["chats"]
    assert brief(gap) == ([], False, 7)
    assert ask(bench, alice, "sync", {"cursors": {chat_id: 6}})["chats"] == []
    assert ask(bench, alice, "list_chats", {})["chats"][0]["lastMessage"] is None
    bench.ask(bench.send(alice[0], bob[1], "still alive"))
    assert brief(ask(bench, alice, "get_messages", {"chatId": chat_id})) == ([7], False, 7)


def test_history_that_was_deleted_is_not_said_to_be_in_the_archive(bench: RelayBench, make_chat: Any) -> None:
    chat_id, alice, bob = make_chat({10: 9})
    bench.rows("DELETE FROM messages WHERE chat_id = :chat AND seq <= 4", chat=chat_id)
    for asked, expected in (
        ({}, ([5, 6, 7, 8, 9], False, None)),
        ({"before": 5}, ([], False, None)),
        ({"after": 0, "limit": 2}, ([5, 6], True, None)),
    ):
        assert brief(ask(bench, alice, "get_messages", {"chatId": chat_id, **asked})) == expected
    assert brief(ask(bench, alice, "join_chat", {"username": bob[1]})) == ([5, 6, 7, 8, 9], False, None)
    bench.rows("DELETE FROM messages WHERE chat_id = :chat", chat=chat_id)
    assert ask(bench, alice, "sync", {"cursors": {}})["chats"] == []


def test_sync_goes_on_behind_what_is_archived(
    bench: RelayBench, make_chat: Any, run: Archive, bring_back: Restore
) -> None:
    chat_id, alice, _ = make_chat({110: 3, 100: 3, 95: 4, 10: 205})
    run()
    bring_back(100)
    got, starts, cursor, more = [], [], 0, True
    while more:
        ((gap),) = ask(bench, alice, "sync", {"cursors": {chat_id: cursor}})["chats"]
        seqs, more, start = brief(gap)
        got += seqs
        starts.append(start)
        cursor = seqs[-1]
    assert got == [4, 5, 6, *range(11, 216)]
    assert starts == [4, 11, None, None]
    assert ask(bench, alice, "sync", {"cursors": {chat_id: cursor}})["chats"] == []


def test_what_is_archived_takes_no_room_in_a_sync(bench: RelayBench, run: Archive) -> None:
    alice, *others = bench.people("alice", *(f"peer{n}" for n in range(8)))
    for peer in others:
        bench.ask(*(bench.send(peer[0], alice[1], "old") for _ in range(100)))
    bench.rows("UPDATE messages SET created_at = now() - interval '100 days'")
    bench.rows("UPDATE chat_members SET delivered_seq = 100")
    run()
    for peer in others:
        bench.ask(bench.send(peer[0], alice[1], "new"))
    gaps = ask(bench, alice, "sync", {"cursors": {}})["chats"]
    assert [brief(gap) for gap in gaps] == [([101], False, 101)] * 8


def test_holes_cost_one_more_statement_however_many_there_are(
    bench: RelayBench, make_chat: Any, run: Archive
) -> None:
    chats = [make_chat({100: 2, 10: 3}) for _ in range(8)]
    costs = []
    for archive_first in (False, True):
        if archive_first:
            run()
        for some in (chats[:1], chats):
            events = [bench.event(who[0], "get_messages", {"chatId": chat}) for chat, who, _ in some]
            with counted(bench) as cost:
                bench.relay.handle([bench.batch(events)])
            costs.append(cost.sent)
    assert costs == [2, 2, 3, 3]
