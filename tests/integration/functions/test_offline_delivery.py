"""Offline delivery: one notification for who is away, never two for the same messages."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from functions import offline_delivery as module
from tests.harness.engines import Engines, Store
from tests.integration.functions.notices import Notices


@pytest.fixture(scope="module")
def bench_store(engines: Engines) -> Iterator[Store]:
    """A store of this module's own: everybody's undelivered messages would be notified."""
    store = engines.new_store()
    yield store
    engines.release(store)


def test_who_is_away_gets_one_notification_after_the_delay(notices: Notices) -> None:
    notices.send("one", "two")
    notices.let_pass(30)
    assert notices.deliver(offline_delay_s=60) == {}
    notices.let_pass(31)
    assert notices.deliver(offline_delay_s=60) == {"notified": 1, "queued": 1}
    assert notices.spans() == [(notices.bob, [1], [2])]
    assert len(notices.queue.ids) == 1


def test_the_same_messages_are_never_notified_twice(notices: Notices) -> None:
    notices.send("one")
    notices.let_pass(61)
    notices.deliver()
    notices.let_pass(500)
    assert notices.deliver() == {}
    assert len(notices.spans()) == 1


def test_a_newer_message_is_notified_for_itself(notices: Notices) -> None:
    notices.send("one")
    notices.let_pass(61)
    notices.deliver()
    notices.send("two", "three")
    notices.let_pass(61)
    assert notices.deliver()["notified"] == 1
    assert notices.spans() == [(notices.bob, [1], [1]), (notices.bob, [2], [3])]


def test_a_digest_covers_what_the_sweep_has_not_seen_yet_and_it_is_not_notified_again(
    notices: Notices,
) -> None:
    notices.send("one")
    notices.let_pass(61)
    notices.send("two")
    notices.deliver()
    notices.let_pass(61)
    assert "notified" not in notices.deliver()
    assert notices.spans() == [(notices.bob, [1], [2])]


def test_one_digest_covers_all_chats_of_a_user(notices: Notices) -> None:
    carol, _ = notices.bench.person("carol")
    notices.send("one", "two")
    notices.send("hello", sender=carol)
    notices.let_pass(61)
    assert notices.deliver() == {"notified": 1, "queued": 1}
    ((_, first, last),) = notices.spans()
    assert sorted(zip(first, last, strict=True)) == [(1, 1), (1, 2)]


def test_who_came_back_before_is_not_notified(notices: Notices) -> None:
    chat_id = notices.send("one")
    notices.let_pass(30)
    notices.confirm(notices.bob, chat_id, 1, 1)
    notices.let_pass(31)
    assert notices.deliver() == {"obsolete": 1}
    assert notices.deliver() == {}


def test_who_has_read_it_elsewhere_is_not_notified(notices: Notices) -> None:
    chat_id = notices.send("one")
    notices.bench.ask(notices.bench.event(notices.bob, "mark_as_read", {"chatId": chat_id}))
    notices.let_pass(61)
    assert notices.deliver() == {}


def test_who_has_a_live_socket_is_not_notified_until_it_is_gone(notices: Notices) -> None:
    notices.bench.connect(notices.bob)
    notices.send("one")
    notices.let_pass(61)
    assert notices.deliver() == {"online": 1}
    notices.bench.redis.flushdb()
    assert notices.deliver() == {}
    notices.let_pass(61)
    assert notices.deliver()["notified"] == 1


def test_ones_own_messages_and_notes_to_oneself_notify_nobody(notices: Notices) -> None:
    notices.send("note", sender=notices.bob)
    notices.let_pass(61)
    assert notices.deliver() == {}


def test_only_what_is_still_undelivered_is_notified(notices: Notices) -> None:
    chat_id = notices.send("one", "two", "three")
    notices.let_pass(61)
    notices.confirm(notices.bob, chat_id, 1, 2)
    notices.deliver()
    assert notices.spans() == [(notices.bob, [3], [3])]


def test_a_younger_message_behind_delivered_ones_waits_for_its_own_delay(notices: Notices) -> None:
    chat_id = notices.send("old")
    notices.let_pass(61)
    notices.confirm(notices.bob, chat_id, 1, 1)
    notices.send("young")
    assert notices.deliver() == {}
    notices.let_pass(61)
    assert notices.deliver()["notified"] == 1
    assert notices.spans() == [(notices.bob, [2], [2])]


def test_without_a_device_there_is_nobody_to_notify(notices: Notices) -> None:
    notices.send("one")
    notices.let_pass(61)
    assert notices.deliver(push_log=False) == {"no_device": 1}
    notices.register(notices.bob)
    notices.send("two")
    notices.let_pass(61)
    notices.deliver(push_log=False)
    assert notices.spans() == [(notices.bob, [2], [2])]


def test_quiet_hours_put_the_notification_off_and_lose_nothing(notices: Notices) -> None:
    start, end = (notices.now() + timedelta(hours=hours) for hours in (-1, 1))
    quiet = f"{start:%H:%M}-{end:%H:%M}"
    notices.send("one")
    notices.let_pass(61)
    assert notices.deliver(quiet_hours=quiet) == {"quiet": 1}
    assert notices.deliver(quiet_hours=quiet) == {}
    notices.let_pass(3_700)
    assert notices.deliver()["notified"] == 1


def test_quiet_hours_count_in_the_zone_of_the_device(notices: Notices) -> None:
    start, end = (notices.now() + timedelta(hours=hours) for hours in (-1, 1))
    notices.register(notices.bob, timeZone="Asia/Tokyo")
    notices.send("one")
    notices.let_pass(61)
    assert notices.deliver(quiet_hours=f"{start:%H:%M}-{end:%H:%M}")["notified"] == 1


def test_two_notifications_to_one_user_keep_the_minimum_interval(notices: Notices) -> None:
    notices.send("one")
    notices.let_pass(61)
    notices.deliver(offline_interval_s=300)
    notices.send("two")
    notices.let_pass(61)
    assert notices.deliver(offline_interval_s=300) == {"too_soon": 1}
    notices.let_pass(240)
    assert notices.deliver(offline_interval_s=300)["notified"] == 1


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
    monkeypatch.setattr(module, "_MEMBERS", 3)
    for _, username in notices.bench.people(*(f"user{number}" for number in range(8))):
        notices.send("hello", to=username)
    notices.let_pass(61)
    assert notices.deliver() == {"notified": 8, "queued": 8}


def test_what_the_sweep_finds_during_a_run_is_notified_by_a_later_one(
    notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = module._write
    swept: list[str] = []

    def sweep_and_write(*arguments: Any) -> None:
        if not swept:
            swept.append(notices.send("two"))
            with contextlib.suppress(OperationalError):  # the sweep has to wait, and does not wait for long
                notices.bench.rows("UPDATE chats SET sweep_at = now()")
                notices.bench.sweep.run()
        write(*arguments)

    notices.send("one")
    notices.let_pass(61)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", sweep_and_write)
        notices.deliver()
    notices.let_pass(61)
    notices.deliver()
    assert [last for _, _, last in notices.spans()][-1] == [2]


def test_without_a_delay_who_is_online_is_looked_at_once_a_run(notices: Notices) -> None:
    notices.bench.connect(notices.bob)
    notices.send("one")
    notices.let_pass(1)
    assert notices.deliver(offline_delay_s=0) == {"online": 1}


def test_what_could_not_be_sent_within_a_day_is_a_dead_letter(notices: Notices) -> None:
    notices.send("one")
    notices.let_pass(61)
    notices.deliver()
    notices.let_pass(86_400)
    assert notices.deliver() == {}
    assert notices.bench.rows("SELECT outcome FROM notifications") == [("failed",)]
    assert notices.bench.rows("SELECT event, user_id FROM dead_letters") == [("push", notices.bob)]


def test_a_queue_that_is_away_loses_no_notification(notices: Notices) -> None:
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


def test_a_run_that_dies_before_its_commit_is_made_up_for(
    notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices.send("one")
    notices.let_pass(61)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", _die)
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
