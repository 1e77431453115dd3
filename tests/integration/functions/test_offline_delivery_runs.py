"""Offline delivery: runs may overlap, die, and meet a broken queue, and nothing is lost or sent twice."""

import contextlib
import threading
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from functions import offline_delivery as module
from functions.notification_plan import write_plan
from tests.integration.functions.notices import Notices


def test_two_runs_at_once_notify_once(notices: Notices) -> None:
    people = notices.bench.people(*(f"user{number}" for number in range(20)))
    for _, username in people:
        notices.send("hello", to=username)
    notices.let_pass(61)
    runs = [threading.Thread(target=notices.deliver) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    notices.deliver()
    assert sorted(user_id for user_id, _, _ in notices.spans()) == sorted(user_id for user_id, _ in people)
    assert len(set(notices.queue.ids)) == len(notices.queue.ids) == 20


def test_many_recipients_are_done_slice_by_slice(notices: Notices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 3)
    for _, username in notices.bench.people(*(f"user{number}" for number in range(8))):
        notices.send("hello", to=username)
    notices.let_pass(61)
    assert notices.deliver() == {"notified": 8, "queued": 8}


def test_what_the_sweep_finds_during_a_run_is_notified_by_a_later_one(
    notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[str] = []

    def sweep_and_write(*arguments: Any) -> None:
        if not swept:
            swept.append(notices.send("two"))
            with contextlib.suppress(OperationalError):  # the sweep must wait, but not for long
                notices.bench.rows("UPDATE chats SET sweep_at = now()")
                notices.bench.sweep.run()
        write_plan(*arguments)

    notices.send("one")
    notices.let_pass(61)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_plan", sweep_and_write)
        notices.deliver()
    notices.let_pass(61)
    notices.deliver()
    assert [last for _, _, last in notices.spans()][-1] == [2]


def test_a_notification_not_sent_within_a_day_is_a_dead_letter(notices: Notices) -> None:
    notices.send("one")
    notices.let_pass(61)
    notices.deliver()
    notices.let_pass(86_400)
    assert notices.deliver() == {}
    assert notices.bench.rows("SELECT outcome FROM notifications") == [("failed",)]
    assert notices.bench.rows("SELECT event, user_id FROM dead_letters") == [("push", notices.bob)]


def test_an_unreachable_queue_loses_no_notification(notices: Notices) -> None:
    notices.send("one")
    notices.let_pass(61)
    notices.queue.broken = True
    with pytest.raises(ConnectionError):
        notices.deliver()
    notices.queue.broken = False
    assert notices.deliver() == {"queued": 1}
    assert len(notices.spans()) == 1


def test_a_notification_that_the_queue_has_lost_is_queued_again(notices: Notices) -> None:
    notices.send("one")
    notices.let_pass(61)
    notices.deliver()
    assert notices.deliver() == {}
    notices.let_pass(3_601)
    assert notices.deliver() == {"queued": 1}


def test_a_run_that_dies_before_its_commit_loses_nothing(
    notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices.send("one")
    notices.let_pass(61)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_plan", _die)
        with pytest.raises(KeyboardInterrupt):
            notices.deliver()
    assert notices.deliver() == {"notified": 1, "queued": 1}


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_dry_run_says_what_would_be_done_and_does_nothing(notices: Notices) -> None:
    notices.send("one")
    notices.let_pass(61)
    assert notices.deliver(dry_run=True) == {"notified": 1}
    assert notices.spans() == []
    assert notices.queue.ids == []
    assert notices.deliver() == {"notified": 1, "queued": 1}
