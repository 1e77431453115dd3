"""Messages that were changed are archived as they are in the end, and come back so."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from functions.archive import patience
from functions.archive.bucket import ArchiveBucket
from tests.harness.talk import Talk
from tests.harness.waiting import eventually
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import Archive, Restore, deliver, noted, objects, stored

LIKE, HEART = "👍", "❤️"
DAY_S = 86_400
HOUR_S = 3_600


@pytest.fixture
def talk(unswept_bench: WorkerBench) -> Talk:
    return Talk.start(unswept_bench)


def make_old(talk: Talk, *seqs: int, days: int = 100) -> None:
    """Let the recipients have everything, and these messages be old enough for the archive."""
    for seq in seqs:
        talk.age(seq, days * DAY_S)
    deliver(talk.bench, talk.chat_id)


def lines(s3: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for body in objects(s3).values() for line in gzip.decompress(body).splitlines()]


def changes(talk: Talk) -> list[tuple[int, int]]:
    """Return seq and change of each message that `sync` finds by its change."""
    rows = talk.bench.rows("SELECT seq, change FROM changed_messages ORDER BY change")
    return [tuple(row) for row in rows]


def test_all_that_is_in_a_changed_message_comes_back(
    talk: Talk, s3: Any, run: Archive, bring_back: Restore
) -> None:
    talk.send(talk.alice, "plain")
    talk.send(talk.alice, "", data={"picture": "a.png", "size": 1e2})
    talk.send(talk.bob, "an answer", replyTo=2)
    talk.send(talk.alice, "a secret", data={"secret": 1})
    talk.edit(talk.bob, 3, "another answer")
    talk.react(talk.bob, 2, HEART)
    talk.react(talk.alice, 2, LIKE)
    talk.unsend(talk.alice, 4)
    make_old(talk, 1, 2, 3, 4)
    messages, found, gap = stored(talk.bench), changes(talk), talk.gap(talk.bob, {"seq": 4, "change": 0})
    assert run()["messages"] == 4
    assert (stored(talk.bench), changes(talk)) == ([], [])
    assert talk.gap(talk.bob, {"seq": 4, "change": 0}).get("changes") == []
    assert "secret" not in str(lines(s3))
    assert bring_back(100) == {"messages": 4, "skipped": 0, "objects": 1}
    assert (stored(talk.bench), changes(talk)) == (messages, found)
    assert talk.gap(talk.bob, {"seq": 4, "change": 0}) == gap
    assert bring_back(100) == {"messages": 0, "skipped": 0, "objects": 1}
    assert (stored(talk.bench), changes(talk)) == (messages, found)


def test_a_line_has_only_those_of_the_newer_fields_that_the_message_has(
    talk: Talk, s3: Any, run: Archive
) -> None:
    talk.send(talk.alice, "plain")
    talk.send(talk.bob, "", data={"a": 1}, replyTo=1)
    talk.react(talk.alice, 2, LIKE)
    talk.edit(talk.alice, 1, "edited")
    make_old(talk, 1, 2)
    edited_at = talk.row(1).edited_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    run()
    first, second = ({name: line[name] for name in list(line)[8:]} for line in lines(s3))
    assert first == {"change": 2, "edited_at": edited_at}
    reactions = [[LIKE, str(talk.alice)]]
    assert second == {"data": '{"a":1}', "reply_to": 1, "change": 1, "reactions": reactions}


def test_a_message_of_the_system_is_one_after_it_was_restored(
    talk: Talk, s3: Any, run: Archive, bring_back: Restore
) -> None:
    event = talk.event(talk.alice, "send_system_message", userId=str(talk.bob), text="Shipped.")
    talk.bench.ask(event)
    talk.send(talk.alice, "plain")
    before = talk.page(talk.bob)
    make_old(talk, 1, 2)
    run()
    assert [line.get("kind") for line in lines(s3)] == ["system", None]
    bring_back(100)
    assert talk.row(1).kind == "system"
    assert [one.get("kind") for one in talk.page(talk.bob)] == [one.get("kind") for one in before]


@pytest.mark.parametrize("setting", ["edit_s", "unsend_s"])
def test_a_message_that_can_still_be_edited_or_unsent_stays(talk: Talk, run: Archive, setting: str) -> None:
    talk.send(talk.alice)
    make_old(talk, 1)
    age_s = int((datetime.now(UTC) - talk.row(1).created_at).total_seconds())
    assert run(**{setting: age_s + 60})["messages"] == 0
    # Whoever began to take it back in time may not have committed yet.
    assert run(**{setting: age_s - HOUR_S + 60})["messages"] == 0
    assert run(**{setting: age_s - HOUR_S - 60})["messages"] == 1


def test_a_reaction_to_a_message_that_is_being_archived_is_not_lost(
    talk: Talk, run: Archive, bring_back: Restore, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.send(talk.alice, "one")
    talk.send(talk.alice, "two")
    talk.react(talk.bob, 1, HEART)
    make_old(talk, 1, 2)
    put_manifest = ArchiveBucket.put_manifest

    def react_first(*arguments: Any) -> None:
        talk.react(talk.bob, 1, LIKE)
        put_manifest(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ArchiveBucket, "put_manifest", react_first)
        assert run()["messages"] == 1
    (kept,) = stored(talk.bench)
    assert run()["messages"] == 1
    assert (len(objects(s3)), stored(talk.bench), len(noted(talk.bench))) == (2, [], 2)
    bring_back(100)
    assert stored(talk.bench)[0] == kept
    assert changes(talk) == [(1, 2)]


def test_a_reaction_that_commits_while_the_archiver_waits_for_it_is_not_lost(
    talk: Talk, run: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_TRIES", 1_000)
    talk.send(talk.alice)
    make_old(talk, 1)
    with ThreadPoolExecutor() as pool, talk.bench.engine.begin() as conn:
        conn.execute(text("UPDATE messages SET change = 1"))
        archived = pool.submit(run)
        eventually(lambda: waiting(talk.bench), "the archiver waits")
        conn.commit()
        assert archived.result(timeout=20)["messages"] == 0
    assert talk.row(1).change == 1


def waiting(bench: WorkerBench) -> list[Any]:
    return bench.rows("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


def test_a_restore_takes_no_reaction_back(talk: Talk, run: Archive, bring_back: Restore) -> None:
    talk.send(talk.alice)
    talk.react(talk.bob, 1, HEART)
    make_old(talk, 1)
    run()
    bring_back(100)
    talk.react(talk.bob, 1, LIKE)
    now = stored(talk.bench)
    assert bring_back(100)["messages"] == 0
    assert stored(talk.bench) == now
    assert changes(talk) == [(1, 2)]
