"""A notification that was sent is replaced once a message that it tells of is unsent."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from functions.channels.channel import Device, Notice
from functions.channels.log import LogChannel
from functions.channels.ses import SesChannel
from functions.channels.sns import SnsChannel
from functions.channels.web_push import WebPushChannel
from functions.channels.webhook import WebhookChannel
from functions.digest import read_open_chats
from functions.errors import DeviceGone, NoticeRefused, TryLater
from functions.notifications import claim, finish, note_sent
from functions.push import Push
from tests.harness.talk import Talk
from tests.harness.waiting import eventually
from tests.integration.functions.notices import ListChannel, Notices
from workers.piles import count_piles

REPLACES = {
    "fcm": SnsChannel.replaces,
    "apns": SnsChannel.replaces,
    "webpush": WebPushChannel.replaces,
    "email": SesChannel.replaces,
    "webhook": WebhookChannel.replaces,
    "log": LogChannel.replaces,
}


@pytest.fixture
def talk(notices: Notices) -> Talk:
    """Alice's chat with bob, who is offline and has a device."""
    notices.register(notices.bob)
    joined = notices.bench.event(notices.alice, "join_chat", {"username": notices.bobs_name})
    chat_id = notices.bench.ask(joined).ack(joined)["chatId"]
    people = notices.alice, notices.alices_name, notices.bob, notices.bobs_name
    return Talk(notices.bench, *people, chat_id)


class Interrupted(ListChannel):
    """Has something happen after a notice was read, and before it is sent."""

    def __init__(self, happen: Callable[[], Any]) -> None:
        super().__init__()
        self._happen: Callable[[], Any] | None = happen

    def send(self, device: Device, notice: Notice) -> str | None:
        if self._happen is not None:
            happen, self._happen = self._happen, None
            happen()
        return super().send(device, notice)


def run(notices: Notices, fcm: ListChannel) -> list[str]:
    """Have the function queue what is due, and send it. Return the outcomes."""
    before = len(notices.queue.ids)
    notices.deliver()
    return [notices.push(fcm).attempt(queued) for queued in notices.queue.ids[before:]]


def said(fcm: ListChannel) -> list[tuple[str, str, bool]]:
    return [(notice.title, notice.body, notice.is_replacement) for _, notice in fcm.notices]


def state(notices: Notices) -> Any:
    (row,) = notices.bench.rows("SELECT outcome, finished_at IS NOT NULL AS is_finished FROM notifications")
    return row


def test_the_others_are_told_of_again_under_the_same_id(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("one", "two", "a secret")
    notices.push(fcm).deliver(notification_id)
    talk.unsend(talk.alice, 3)
    assert run(notices, fcm) == ["sent"]
    assert said(fcm) == [
        (f"3 messages from {talk.alices_name}", f"{talk.alices_name}: a secret", False),
        (f"2 messages from {talk.alices_name}", f"{talk.alices_name}: two", True),
    ]
    assert {notice.id for _, notice in fcm.notices} == {notification_id}
    assert state(notices) == ("sent", True)


def test_a_neutral_text_takes_the_place_of_the_last_message(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("a secret")
    notices.push(fcm).deliver(notification_id)
    talk.unsend(talk.alice, 1)
    assert run(notices, fcm) == ["sent"]
    assert said(fcm)[1:] == [("Message deleted", "", True)]
    (_, notice) = fcm.notices[-1]
    assert (notice.id, notice.count, notice.senders) == (notification_id, 0, ())
    assert [str(chat_id) for chat_id in notice.chat_ids] == [talk.chat_id]


@pytest.mark.parametrize("is_last", [True, False])
def test_only_channels_that_can_replace_a_notice_get_another(
    notices: Notices, talk: Talk, is_last: bool
) -> None:
    assert {name for name, replaces in REPLACES.items() if replaces} == {"fcm", "apns", "webpush"}
    channels = {name: ListChannel(replaces=replaces) for name, replaces in REPLACES.items()}
    for name in ("apns", "email", "webhook", "log"):
        address = "https://hook.example/" if name == "webhook" else "b@example.com"
        notices.register(notices.bob, name, address)
    keys = {"p256dh": "p" * 87, "auth": "a" * 22}
    notices.register(notices.bob, "webpush", "https://push.example/", keys=keys)
    notification_id = notices.notify("a secret") if is_last else notices.notify("one", "a secret")
    push = Push(notices.context(push_log=True), channels)
    push.deliver(notification_id)
    assert all(channel.notices for channel in channels.values())
    talk.unsend(talk.alice, 1 if is_last else 2)
    notices.deliver()
    assert push.deliver(notification_id) == "sent"
    for channel in channels.values():
        again = [(device, notice) for device, notice in channel.notices if notice.is_replacement]
        assert len(again) == (1 if channel.replaces else 0)
    assert len(channels["log"].notices) == 2  # the device, and that of PUSH_LOG


def test_a_retry_of_the_unsending_replaces_nothing_again(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notices.push(fcm).deliver(notices.notify("one", "two"))
    talk.unsend(talk.alice, 2)
    run(notices, fcm)
    talk.unsend(talk.alice, 2)
    assert run(notices, fcm) == []
    assert len(fcm.notices) == 2


def test_two_messages_that_are_unsent_together_cost_one_replacement(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notices.push(fcm).deliver(notices.notify("one", "two", "three"))
    talk.bench.ask(*(talk.event(talk.alice, "unsend_message", seq=seq) for seq in (2, 3)))
    assert run(notices, fcm) == ["sent"]
    assert said(fcm)[1:] == [(f"Message from {talk.alices_name}", f"{talk.alices_name}: one", True)]


def test_each_later_unsending_replaces_it_anew(notices: Notices, talk: Talk, fcm: ListChannel) -> None:
    notices.push(fcm).deliver(notices.notify("one", "two"))
    for seq in (2, 1):
        talk.unsend(talk.alice, seq)
        assert run(notices, fcm) == ["sent"]
    assert [title for title, _, _ in said(fcm)] == [
        f"2 messages from {talk.alices_name}",
        f"Message from {talk.alices_name}",
        "Message deleted",
    ]


def test_a_replacement_that_is_sent_twice_reaches_no_device_twice(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notices.register(notices.bob, address="busy")
    notification_id = notices.notify("a secret")
    sender = notices.push(fcm)
    sender.deliver(notification_id)
    talk.unsend(talk.alice, 1)
    fcm.failing = {"busy": TryLater("busy")}
    assert sender.attempt(notification_id) == "later"
    fcm.failing = {}
    assert [sender.attempt(notification_id) for _ in range(2)] == ["sent", "sent"]
    assert sorted(device.address for device, notice in fcm.notices if notice.is_replacement) == [
        "busy",
        "token",
    ]


@pytest.mark.parametrize("failure", [DeviceGone(), NoticeRefused("no"), TryLater("busy")])
def test_what_cannot_be_replaced_stays_sent_and_is_no_dead_letter(
    notices: Notices, talk: Talk, fcm: ListChannel, failure: Exception
) -> None:
    notification_id = notices.notify("a secret")
    notices.push(fcm).deliver(notification_id)
    talk.unsend(talk.alice, 1)
    fcm.failing = {"token": failure}
    results = [notices.push(fcm, push_tries=2).attempt(notification_id) for _ in range(3)]
    assert results[-1] == "sent"
    assert state(notices) == ("sent", True)
    assert notices.bench.rows("SELECT FROM dead_letters") == []


def test_a_replacement_has_as_many_tries_as_any_notification(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("a secret")
    sender = notices.push(fcm, push_tries=2)
    fcm.failures = [TryLater("busy")]
    assert [sender.attempt(notification_id) for _ in range(2)] == ["later", "sent"]
    talk.unsend(talk.alice, 1)
    fcm.failures = [TryLater("busy")]
    assert [sender.attempt(notification_id) for _ in range(2)] == ["later", "sent"]
    assert said(fcm)[1:] == [("Message deleted", "", True)]


def test_one_that_is_being_replaced_is_not_late_at_once(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notices.push(fcm).deliver(notices.notify("a secret"))
    notices.let_pass(3_600)
    talk.unsend(talk.alice, 1)
    assert count_piles(notices.bench.engine).open_notifications == 0
    notices.let_pass(1_000)
    assert count_piles(notices.bench.engine).open_notifications == 1


def test_a_device_that_came_later_is_not_told_of_what_was_sent_before(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notices.push(fcm).deliver(notices.notify("one", "two"))
    notices.register(notices.bob, address="new")
    talk.unsend(talk.alice, 2)
    assert run(notices, fcm) == ["sent"]
    assert [device.address for device, _ in fcm.notices] == ["token", "token"]


def test_a_device_that_waits_gets_the_rest_while_another_replaces_what_it_shows(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notices.register(notices.bob, address="busy")
    notification_id = notices.notify("one", "a secret")
    fcm.failing = {"busy": TryLater("busy")}
    assert notices.push(fcm).attempt(notification_id) == "later"
    talk.unsend(talk.alice, 2)
    fcm.failing = {}
    assert notices.push(fcm).attempt(notification_id) == "sent"
    rest = f"{talk.alices_name}: one"
    assert {(device.address, notice.body, notice.is_replacement) for device, notice in fcm.notices[1:]} == {
        ("token", rest, True),
        ("busy", rest, False),
    }


def test_a_device_that_waits_is_told_nothing_of_what_is_gone_while_another_replaces_it(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notices.register(notices.bob, address="busy")
    notification_id = notices.notify("a secret")
    fcm.failing = {"busy": TryLater("busy")}
    assert notices.push(fcm).attempt(notification_id) == "later"
    talk.unsend(talk.alice, 1)
    fcm.failing = {}
    assert notices.push(fcm).attempt(notification_id) == "sent"
    assert [(device.address, notice.title) for device, notice in fcm.notices[1:]] == [
        ("token", "Message deleted")
    ]


def test_what_is_unsent_while_it_is_being_sent_is_replaced(notices: Notices, talk: Talk) -> None:
    notices.register(notices.bob, address="second")
    notification_id = notices.notify("a secret")
    fcm = Interrupted(lambda: talk.unsend(talk.alice, 1))
    assert notices.push(fcm).attempt(notification_id) == "later"
    assert state(notices) == (None, False)
    assert notices.push(fcm).attempt(notification_id) == "sent"
    assert [title for title, _, _ in said(fcm)[2:]] == ["Message deleted"] * 2
    assert {device.address for device, _ in fcm.notices[2:]} == {"token", "second"}


def test_an_unsending_waits_until_a_worker_has_claimed_the_notification(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("a secret")
    ((device_id,),) = notices.bench.rows("SELECT id FROM devices")
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%WITH told%'"
    with ThreadPoolExecutor() as pool, notices.bench.engine.connect() as conn:
        with conn.begin():
            claimed = claim(conn, notification_id)
            assert claimed is not None
            unsending = pool.submit(talk.unsend, talk.alice, 1)
            eventually(lambda: notices.bench.rows(waiting), "the unsending waits")
            assert [chat.newest_text for chat in read_open_chats(conn, notification_id)] == ["a secret"]
        unsending.result()
        with conn.begin():
            note_sent(conn, claimed, device_id)
            assert not finish(conn, claimed, "sent")
    notices.let_pass(3_600)
    assert run(notices, fcm) == ["sent"]
    assert said(fcm) == [("Message deleted", "", True)]


def test_what_is_unsent_while_a_replacement_is_being_sent_is_replaced_again(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("one", "two")
    notices.push(fcm).deliver(notification_id)
    talk.unsend(talk.alice, 2)
    late = Interrupted(lambda: talk.unsend(talk.alice, 1))
    assert notices.push(late).attempt(notification_id) == "later"
    assert notices.push(late).attempt(notification_id) == "sent"
    assert [title for title, _, _ in said(late)] == [f"Message from {talk.alices_name}", "Message deleted"]


def test_a_replacement_waits_for_the_end_of_the_quiet_hours(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("a secret")
    notices.push(fcm).deliver(notification_id)
    talk.unsend(talk.alice, 1)
    assert notices.push(fcm, quiet_hours="00:00-23:59").deliver(notification_id) == "quiet"
    assert len(fcm.notices) == 1
    notices.let_pass(86_000)
    assert run(notices, fcm) == ["sent"]
    assert len(fcm.notices) == 2


def test_an_old_notification_is_still_replaced(notices: Notices, talk: Talk, fcm: ListChannel) -> None:
    notices.push(fcm).deliver(notices.notify("a secret"))
    notices.let_pass(40 * 3_600)
    talk.unsend(talk.alice, 1)
    assert run(notices, fcm) == ["sent"]
    assert said(fcm)[1:] == [("Message deleted", "", True)]


def test_a_replacement_that_nobody_sends_within_a_day_is_given_up(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notices.push(fcm).deliver(notices.notify("a secret"))
    talk.unsend(talk.alice, 1)
    notices.let_pass(25 * 3_600)
    assert run(notices, fcm) == []
    assert state(notices) == ("sent", True)


def test_what_the_recipient_has_read_is_not_replaced(notices: Notices, talk: Talk, fcm: ListChannel) -> None:
    notices.push(fcm).deliver(notices.notify("one", "two"))
    talk.ask(talk.bob, "mark_as_read", upTo=1)
    talk.unsend(talk.alice, 1)
    assert run(notices, fcm) == []
    talk.unsend(talk.alice, 2)
    assert run(notices, fcm) == ["sent"]


def test_what_another_device_has_received_is_replaced(notices: Notices, talk: Talk, fcm: ListChannel) -> None:
    notices.push(fcm).deliver(notices.notify("a secret"))
    notices.confirm(talk.bob, talk.chat_id, 1, 1)
    talk.unsend(talk.alice, 1)
    assert run(notices, fcm) == ["sent"]
    assert said(fcm)[1:] == [("Message deleted", "", True)]


def test_notifications_of_other_messages_stay(notices: Notices, talk: Talk, fcm: ListChannel) -> None:
    for words in ("one", "two"):
        notices.push(fcm).deliver(notices.notify(words))
    talk.send(talk.bob, "mine")
    talk.send(talk.alice, "not yet notified")
    talk.unsend(talk.alice, 4)
    talk.unsend(talk.bob, 3)
    assert run(notices, fcm) == []
    talk.unsend(talk.alice, 1)
    first, second = notices.bench.rows("SELECT finished_at FROM notifications ORDER BY id")
    assert first.finished_at is None
    assert second.finished_at is not None


@pytest.mark.parametrize("outcome", ["obsolete", "no_device", "failed"])
def test_what_reached_no_device_is_not_sent(
    notices: Notices, talk: Talk, fcm: ListChannel, outcome: str
) -> None:
    notification_id = notices.notify("one", "two")
    notices.bench.rows("UPDATE notifications SET finished_at = now(), outcome = :outcome", outcome=outcome)
    talk.unsend(talk.alice, 2)
    assert run(notices, fcm) == []
    assert notices.bench.rows("SELECT outcome FROM notifications WHERE id = :id", id=notification_id) == [
        (outcome,)
    ]


def test_an_unsending_that_is_refused_replaces_nothing(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notices.push(fcm).deliver(notices.notify("one"))
    talk.refused(talk.bob, "unsend_message", seq=1)
    assert run(notices, fcm) == []


def test_a_change_of_another_kind_replaces_nothing(notices: Notices, talk: Talk, fcm: ListChannel) -> None:
    notices.push(fcm).deliver(notices.notify("one"))
    talk.edit(talk.alice, 1, "two")
    talk.react(talk.alice, 1, "\U0001f44d")
    assert run(notices, fcm) == []
