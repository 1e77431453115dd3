"""Offline delivery: one notification for each user who is offline, never two for the same messages."""

from datetime import timedelta

from tests.integration.functions.notices import Notices


def test_an_offline_user_gets_one_notification_after_the_delay(notices: Notices) -> None:
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


def test_a_user_who_came_back_in_time_is_not_notified(notices: Notices) -> None:
    chat_id = notices.send("one")
    notices.let_pass(30)
    notices.confirm(notices.bob, chat_id, 1, 1)
    notices.let_pass(31)
    assert notices.deliver() == {"obsolete": 1}
    assert notices.deliver() == {}


def test_a_user_who_read_it_elsewhere_is_not_notified(notices: Notices) -> None:
    chat_id = notices.send("one")
    notices.bench.ask(notices.bench.event(notices.bob, "mark_as_read", {"chatId": chat_id}))
    notices.let_pass(61)
    assert notices.deliver() == {}


def test_a_user_with_a_live_socket_is_not_notified_until_it_is_gone(notices: Notices) -> None:
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


def test_without_a_delay_an_online_user_is_checked_once_a_run(notices: Notices) -> None:
    notices.bench.connect(notices.bob)
    notices.send("one")
    notices.let_pass(1)
    assert notices.deliver(offline_delay_s=0) == {"online": 1}
