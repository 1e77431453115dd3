"""Restored messages are identical, and stay until their hold is over."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from functions.archive import patience
from functions.archive.bucket import ArchiveBucket
from functions.cleanup import cleanup
from functions.pacer import Pacer
from tests.harness.waiting import eventually
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import (
    NOTHING,
    Archive,
    Restore,
    day,
    is_whole,
    objects,
    stored,
)
from tests.integration.functions.conftest import ContextFactory


def test_what_was_archived_comes_back_identical(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, bring_back: Restore
) -> None:
    make_chat({200: 7, 100: 150, 10: 5})
    make_chat({200: 30, 91: 1})
    make_chat({90: 4})
    before = stored(unswept_bench)
    summary = run()
    assert (summary["messages"], summary["objects"], summary["days"]) == (188, 3, 3)
    assert summary["bytes"] == sum(map(len, objects(s3).values()))
    assert list(objects(s3)) == [f"archive/day={day(ago)}/shard=0-of-1/1.jsonl.gz" for ago in (200, 100, 91)]
    assert len(stored(unswept_bench)) == 9
    assert is_whole(unswept_bench, s3, before)
    assert bring_back(200, 91) == {"messages": 188, "skipped": 0, "objects": 3}
    assert stored(unswept_bench) == before
    assert unswept_bench.rows("SELECT * FROM archived_chats") == []
    assert bring_back(200, 91) == {"messages": 0, "skipped": 0, "objects": 3}
    assert stored(unswept_bench) == before


def test_a_restored_day_stays_until_its_hold_is_over(
    unswept_bench: WorkerBench, make_chat: Any, s3: Any, run: Archive, bring_back: Restore
) -> None:
    chat_id, *_ = make_chat({110: 3, 100: 4, 95: 2})
    before = stored(unswept_bench)
    run()
    assert bring_back(100)["messages"] == 4
    assert run() == NOTHING
    assert unswept_bench.seqs(chat_id) == [4, 5, 6, 7]
    unswept_bench.rows("UPDATE archive_holds SET until = now()")
    assert run() == {**NOTHING, "recovered": 4}
    assert len(objects(s3)) == 3
    assert is_whole(unswept_bench, s3, before)


def test_a_hold_that_begins_while_a_day_is_archived_is_respected(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chat({100: 5})
    before = stored(unswept_bench)
    put_manifest = ArchiveBucket.put_manifest

    def hold_first(*arguments: Any) -> None:
        unswept_bench.rows("INSERT INTO archive_holds VALUES (:day, now() + interval '1 day')", day=day(100))
        put_manifest(*arguments)

    monkeypatch.setattr(ArchiveBucket, "put_manifest", hold_first)
    assert run()["messages"] == 0
    assert stored(unswept_bench) == before


def test_a_chat_whose_oldest_message_is_held_waits(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive
) -> None:
    held, *_ = make_chat({110: 3, 100: 4})
    free, *_ = make_chat({100: 4})
    unswept_bench.rows("INSERT INTO archive_holds VALUES (:day, now() + interval '1 day')", day=day(110))
    assert run()["messages"] == 4
    assert (unswept_bench.seqs(held), unswept_bench.seqs(free)) == ([1, 2, 3, 4, 5, 6, 7], [])


def test_a_message_that_the_database_refuses_is_skipped_and_no_other(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive, bring_back: Restore
) -> None:
    chat_id, _, _ = make_chat({100: 7})
    run()
    unswept_bench.rows(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'refused'; END $$"
    )
    unswept_bench.rows(
        "CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.seq = 3)"
        " EXECUTE FUNCTION refuse()"
    )
    try:
        with capture_logs() as logs:
            assert bring_back(100) == {"messages": 6, "skipped": 1, "objects": 1}
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["message_skipped"]
    finally:
        unswept_bench.rows("DROP FUNCTION refuse CASCADE")
    assert unswept_bench.seqs(chat_id) == [1, 2, 4, 5, 6, 7]
    assert bring_back(100) == {"messages": 1, "skipped": 0, "objects": 1}


def test_messages_of_a_deleted_chat_are_skipped(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive, bring_back: Restore
) -> None:
    gone, *_ = make_chat({100: 3})
    kept, *_ = make_chat({100: 4})
    run()
    unswept_bench.rows("DELETE FROM chats WHERE id = :chat", chat=gone)
    assert bring_back(100) == {"messages": 4, "skipped": 3, "objects": 1}
    assert unswept_bench.seqs(kept) == [1, 2, 3, 4]


def unread(bench: WorkerBench, user: Any) -> tuple[int, int]:
    """Return the unread counts of a user in their only chat: what the list says, and what is stored."""
    listed = bench.event(user[0], "list_chats", {})
    (chat,) = bench.ask(listed).ack(listed)["chats"]
    ((stored,),) = bench.rows("SELECT count(*) FROM messages WHERE recipient_id = :u", u=user[0])
    return chat["unread"], stored


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "archived before there were numbers"])
def test_restored_messages_count_as_unread_and_those_missing_between_do_not(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive, bring_back: Restore, numbered: bool
) -> None:
    _, *people = make_chat({110: 10, 100: 7, 95: 8, 10: 6})
    if not numbered:
        unswept_bench.rows("UPDATE messages SET to_lo = NULL")
        unswept_bench.rows("UPDATE chats SET to_lo = 0, to_hi = 0")
    run()
    for days in ((110, 110), (95, 95), (100, 100)):
        bring_back(*days)
        for user, peer in (people, people[::-1]):
            counted, stored = unread(unswept_bench, user)
            assert counted == stored
            unswept_bench.ask(unswept_bench.send(peer[0], user[1], "another"))
            assert unread(unswept_bench, user) == (stored + 1, stored + 1)


def assert_counts_are_exact(bench: WorkerBench, *users: Any) -> None:
    for user in users:
        counted, stored = unread(bench, user)
        assert counted == stored


def test_what_is_archived_behind_a_held_day_does_not_count_as_unread(
    unswept_bench: WorkerBench, make_chat: Any, run: Archive, bring_back: Restore
) -> None:
    _, *people = make_chat({110: 3, 100: 6, 10: 2})
    run()
    bring_back(110, 100)
    unswept_bench.rows("UPDATE archive_holds SET until = now() WHERE day = :day", day=day(100))
    run()
    assert_counts_are_exact(unswept_bench, *people)


def test_what_is_too_old_behind_a_held_day_does_not_count_as_unread(
    unswept_bench: WorkerBench, make_chat: Any, make_context: ContextFactory
) -> None:
    chat_id, *people = make_chat({400: 3, 399: 3, 398: 6, 10: 2}, delivered=False)
    unswept_bench.rows("INSERT INTO archive_holds VALUES (:day, now() + interval '1 day')", day=day(399))
    cleanup(make_context(retention_days=365), Pacer(60), False)
    assert unswept_bench.seqs(chat_id) == [4, 5, 6, 13, 14]
    assert_counts_are_exact(unswept_bench, *people)


def test_messages_that_stay_because_they_are_locked_leave_no_wrong_count(
    unswept_bench: WorkerBench, make_chat: Any, make_context: ContextFactory
) -> None:
    chat_id, *people = make_chat({400: 12, 10: 2}, delivered=False)
    with unswept_bench.engine.begin() as conn:
        conn.execute(
            text("SELECT FROM messages WHERE chat_id = :c AND seq IN (2, 3) FOR UPDATE"), {"c": chat_id}
        )
        cleanup(make_context(retention_days=365), Pacer(60), False)
    assert unswept_bench.seqs(chat_id) == [2, 3, 13, 14]
    assert_counts_are_exact(unswept_bench, *people)


def test_a_restore_waits_for_a_chat_that_is_being_written(
    unswept_bench: WorkerBench,
    make_chat: Any,
    run: Archive,
    bring_back: Restore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "_TRIES", 1_000)
    chat_id, *_ = make_chat({110: 3, 10: 2})
    run()
    with ThreadPoolExecutor() as pool, unswept_bench.engine.begin() as conn:
        conn.execute(text("SELECT FROM chats WHERE id = :c FOR NO KEY UPDATE"), {"c": chat_id})
        restored = pool.submit(bring_back, 110)
        eventually(lambda: _waiting(unswept_bench), "it waits")
        first = _waiting(unswept_bench)
        eventually(lambda: _waiting(unswept_bench) not in ([], first), "it is tried again")
        conn.commit()
        assert restored.result(timeout=20)["messages"] == 3


def _waiting(bench: WorkerBench) -> list[Any]:
    """Return when the statements began that wait for a lock."""
    rows = bench.rows("SELECT query_start FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return [row.query_start for row in rows]
