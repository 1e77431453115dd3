"""`erase_users` finishes every erasure that was begun, and one that fails is in nobody's way."""

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from functions.context import Context
from functions.erasure import record, rows, scheduled
from functions.erasure.announcer import QueueAnnouncer
from functions.erasure.chats import ChatErasure
from functions.erasure.job import go_on
from functions.erasure.scheduled import erase_users
from functions.errors import ErasureRefused
from functions.pacer import Pacer
from infra.store import erasures
from infra.store.erasures import Mode
from infra.wire import names
from tests.harness.two import Person, Two
from tests.integration.functions.conftest import ContextFactory, Eraser

SECRET = "meet me at the old mill"

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(make_context: ContextFactory) -> Run:
    """Return what runs the function once."""

    def run(run_s: float = 600.0, *, dry_run: bool = False, **options: Any) -> dict[str, Any]:
        return erase_users(make_context(**options), Pacer(run_s), dry_run)

    return run


def ask(two: Two, person: Person, mode: Mode = Mode.DELETE, *, ago_s: int = 60) -> erasures.Erasure:
    """Ask for an erasure some time ago, as a worker does."""
    with two.bench.engine.begin() as conn:
        erasures.begin(conn, person.id, mode, again=False)
    two.bench.rows(
        "UPDATE erasures SET started_at = now() - make_interval(secs => :ago), next_at = now() - "
        "make_interval(secs => :ago) WHERE user_id = :id",
        ago=ago_s,
        id=person.id,
    )
    with two.bench.engine.begin() as conn:
        found = erasures.find(conn, person.id)
    assert found is not None
    return found


def row(two: Two, person: Person) -> Any:
    (found,) = two.bench.rows("SELECT * FROM erasures WHERE user_id = :id", id=person.id)
    return found


def texts(two: Two) -> set[str]:
    return {row.text for row in two.bench.rows("SELECT text FROM messages")}


def test_an_erasure_that_was_asked_for_is_finished_and_the_manifest_is_kept(two: Two, run: Run) -> None:
    two.send(two.alice, SECRET)
    ask(two, two.alice)
    two.bench.redis.delete(names.user_edges_key(str(two.alice.id)))
    assert run() == {"finished": 1, "open": 0}
    assert texts(two) == {"", "ho"}
    found = row(two, two.alice)
    assert found.manifest["complete"]
    assert found.manifest["finishedAt"]
    assert found.manifest["counts"]["postgres"] == {"messages": 2, "profiles": 1}
    assert "where the user is connected" not in {one["what"] for one in found.manifest["left"]}
    assert run() == {"finished": 0, "open": 0}


def test_it_waits_for_workers_and_edges_without_holding_up_others(
    two: Two, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.erasure.job.time", None)  # nobody sleeps
    two.send(two.alice, SECRET)
    ask(two, two.alice, ago_s=5)
    assert run() == {"finished": 0, "open": 1}
    assert SECRET in texts(two)
    two.bench.rows("UPDATE erasures SET started_at = started_at - interval '20 s'")
    assert run() == {"finished": 0, "open": 1}
    assert texts(two) == {"", "ho"}
    assert row(two, two.alice).manifest is None
    two.bench.rows("UPDATE erasures SET started_at = started_at - interval '30 s'")
    assert run() == {"finished": 1, "open": 0}


def test_the_sweep_of_the_workers_tells_connected_peers(two: Two, run: Run) -> None:
    two.send(two.alice, SECRET)
    ask(two, two.alice, ago_s=20)
    two.bench.read()
    run()
    assert two.bench.read().emitted("message_changed", two.bob.id) == []
    two.bench.sweep.run()
    heard = two.bench.read().emitted("message_changed", two.bob.id)
    assert [(message["seq"], message["text"]) for message in heard] == [(1, ""), (3, "")]
    assert not two.bench.redis.exists(names.CHANGED_KEY)
    two.bench.sweep.run()
    assert two.bench.read().emitted("message_changed", two.bob.id) == []


def test_a_sweep_that_dies_before_it_has_told_leaves_it_to_the_next(
    two: Two, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(two, two.alice, ago_s=20)
    run()
    two.bench.read()
    with monkeypatch.context() as patch:
        patch.setattr("workers.announcer.Announcer.changed", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            two.bench.sweep.run()
    two.bench.sweep.run()
    assert [message["seq"] for message in two.bench.read().emitted("message_changed", two.bob.id)] == [1]


def test_what_nobody_sweeps_does_not_stay_in_redis_for_ever(two: Two, run: Run) -> None:
    ask(two, two.alice)
    run()
    assert 0 < int(two.bench.redis.ttl(names.CHANGED_KEY)) <= names.CHANGED_S


def test_one_that_fails_keeps_no_other_from_being_done_and_comes_again_later(
    two: Two, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.send(two.bob, SECRET)
    ask(two, two.alice, ago_s=90)
    ask(two, two.bob, ago_s=60)
    original = ChatErasure.run

    def fail(walk: ChatErasure, place: str | None) -> bool:
        if walk.erasure.user_id == two.alice.id:
            raise ZeroDivisionError(SECRET)
        return original(walk, place)

    monkeypatch.setattr(ChatErasure, "run", fail)
    with capture_logs() as logs, pytest.raises(ZeroDivisionError):
        run()
    (line,) = [line for line in logs if line["event"] == "erasure_failed"]
    assert (line["user_id"], line["error"], line["log_level"]) == (
        str(two.alice.id),
        "ZeroDivisionError",
        "error",
    )
    assert row(two, two.bob).finished_at is not None
    assert texts(two) == {"hi", ""}
    assert run() == {"finished": 0, "open": 0}  # it is not tried at once
    monkeypatch.undo()
    two.bench.rows("UPDATE erasures SET next_at = now()")
    assert run() == {"finished": 1, "open": 0}


def test_the_one_that_has_waited_longest_comes_first_and_the_others_when_there_is_time(
    two: Two, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[uuid.UUID] = []

    def go_on(*words: Any) -> bool:
        done.append(words[-1])
        return True

    monkeypatch.setattr(scheduled, "go_on", go_on)
    ask(two, two.alice, ago_s=60)
    ask(two, two.bob, ago_s=90)
    assert run(0.0) == {"finished": 0, "open": 2}
    assert done == []
    assert run() == {"finished": 2, "open": 0}
    assert done == [two.bob.id, two.alice.id]


def test_one_that_takes_long_does_not_keep_others_waiting(
    two: Two, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[uuid.UUID] = []

    def go_on(context: Context, turn: Pacer, announcer: object, user_id: uuid.UUID) -> bool:
        turns.append(user_id)
        turn._run_s = 0.0
        return False

    monkeypatch.setattr(scheduled, "go_on", go_on)
    ask(two, two.alice, ago_s=90)
    ask(two, two.bob, ago_s=60)
    for _ in range(3):
        assert run() == {"finished": 0, "open": 2}
    assert turns == [two.alice.id, two.bob.id, two.alice.id]


class ThreePortions(Pacer):
    """Gives a run time for three portions."""

    left = 3

    @property
    def out_of_time(self) -> bool:
        return self.left <= 0

    def pause(self) -> None:
        self.left -= 1


def test_runs_that_end_after_a_few_portions_come_to_an_end(two: Two, make_context: ContextFactory) -> None:
    """However many reports and facts of webhooks there are."""
    two.bench.rows(
        "INSERT INTO reports (id, reporter_id, reported_id, chat_id, seq, reason, note, messages)"
        " SELECT gen_random_uuid(), :a, :b, :chat, seq, 'spam', :note, '[]' FROM generate_series(1, 200) seq",
        note=SECRET,
        a=two.alice.id,
        b=two.bob.id,
        chat=two.chat_id,
    )
    two.bench.rows(
        "INSERT INTO outbox (endpoint, id, event, about, body)"
        " SELECT 'app', number, 'message.created', :chat, CASE number % 1000 WHEN 0 THEN :body ELSE '{}' END"
        " FROM generate_series(1, 4500) number",
        body=json.dumps({"senderId": str(two.alice.id), "text": SECRET}),
        chat=two.chat_id,
    )
    ask(two, two.alice)
    context = make_context()
    runs = 1
    while not go_on(context, ThreePortions(600), QueueAnnouncer(context), two.alice.id):
        runs += 1
        assert runs < 30
    assert row(two, two.alice).manifest["counts"]["postgres"]["reports"] == 200
    assert not two.bench.rows("SELECT FROM reports WHERE note IS NOT NULL")
    assert not two.bench.rows("SELECT FROM outbox WHERE body LIKE :text", text=f"%{SECRET}%")


def test_a_command_that_was_killed_is_finished(
    two: Two, run: Run, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Death(BaseException):
        pass

    def die(*_: object) -> None:
        raise Death

    two.send(two.alice, SECRET)
    with monkeypatch.context() as patch:
        patch.setattr(ChatErasure, "_note", die)
        with pytest.raises(Death):
            eraser(two.alice.id)
    two.bench.rows("UPDATE erasures SET started_at = now() - interval '1 minute'")
    assert run() == {"finished": 1, "open": 0}
    assert row(two, two.alice).manifest["counts"]["postgres"] == {"messages": 2, "profiles": 1}


def test_a_run_that_is_overtaken_by_another_wish_does_not_finish_it(
    two: Two, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has begun to anonymise must not say that the messages are deleted."""
    two.send(two.alice, SECRET)
    ask(two, two.alice, Mode.ANONYMISE)
    original = ChatErasure.run

    def change_their_mind(walk: ChatErasure, place: str | None) -> bool:
        ask(two, two.alice)
        return original(walk, place)

    with monkeypatch.context() as patch:
        patch.setattr(ChatErasure, "run", change_their_mind)
        assert run() == {"finished": 0, "open": 1}
    assert SECRET in texts(two)
    assert row(two, two.alice).finished_at is None
    assert run() == {"finished": 1, "open": 0}
    assert texts(two) == {"", "ho"}


def test_an_erasure_that_is_finished_by_another_is_not_finished_again_for_another_wish(two: Two) -> None:
    old = ask(two, two.alice, Mode.ANONYMISE)
    ask(two, two.alice)
    with two.bench.engine.begin() as conn, pytest.raises(ErasureRefused):
        record.finish(conn, old)


def test_the_profile_is_left_alone_while_a_worker_takes_another_wish(
    two: Two, make_context: ContextFactory
) -> None:
    """The worker has locked the erasure, and is about to lock the profile."""
    erasure, context = ask(two, two.alice), make_context()
    with ThreadPoolExecutor(1) as pool, two.bench.engine.begin() as conn:
        erasures.begin(conn, two.alice.id, Mode.DELETE, again=False)
        deleted = pool.submit(rows.delete_profile, context.engine, erasure)
        while not two.bench.rows("SELECT FROM pg_locks WHERE NOT granted"):
            assert not deleted.done()
        conn.execute(text("SELECT FROM profiles WHERE id = :id FOR UPDATE NOWAIT"), {"id": two.alice.id})
    deleted.result()


def test_two_runs_at_once_do_no_harm(two: Two, make_context: ContextFactory) -> None:
    for _ in range(4):
        two.ask(*(two.sending(person, SECRET) for person in (two.alice, two.bob) * 50))
    ask(two, two.alice)
    errors: list[Exception] = []

    def go_on() -> None:
        try:
            erase_users(make_context(), Pacer(600), False)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = row(two, two.alice)
    assert found.finished_at is not None
    counts = {"postgres.messages": 201, "postgres.profiles": 1}
    assert {**found.counts, **counts} == found.counts


def test_without_anything_to_erase_nothing_is_needed_but_postgres(two: Two, run: Run) -> None:
    assert run(redis_url=None) == {"finished": 0, "open": 0}


def test_a_dry_run_only_counts(two: Two, run: Run) -> None:
    ask(two, two.alice)
    assert run(dry_run=True) == {"open": 1}
    assert row(two, two.alice).step == "name"
