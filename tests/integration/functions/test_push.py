"""Push: each device receives a notification once."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from functions.errors import DeviceGone, TryLater
from functions.pacer import Pacer
from functions.push import push_open
from infra.store.profiles import DELETED_USERNAME
from tests.integration.functions.notices import ListChannel, Notices


def test_every_device_of_the_recipient_gets_the_digest(notices: Notices, fcm: ListChannel) -> None:
    devices = {notices.register(notices.bob, address=f"token-{number}") for number in range(3)}
    notices.register(notices.alice, address="alices")
    notification_id = notices.notify("one", "two", "how are you?")
    assert notices.push(fcm).deliver(notification_id) == "sent"
    assert {device.id for device, _ in fcm.notices} == devices
    notice = fcm.notices[0][1]
    assert (notice.id, notice.count, notice.senders) == (notification_id, 3, (notices.alices_name,))
    assert notice.title == f"3 messages from {notices.alices_name}"
    assert notice.body == f"{notices.alices_name}: how are you?"


def test_a_notification_calls_its_sender_by_the_name_that_the_app_gave(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    name = "Alice Ångström"
    notices.bench.rows("UPDATE profiles SET display_name = :name WHERE id = :id", name=name, id=notices.alice)
    notices.push(fcm).deliver(notices.notify("hi"))
    ((_, notice),) = fcm.notices
    assert (notice.title, notice.senders) == (f"Message from {name}", (name,))


def test_a_notification_calls_a_sender_who_has_lost_their_username_as_clients_do(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    notices.bench.rows("UPDATE profiles SET display_name = 'Alice' WHERE id = :id", id=notices.alice)
    notification_id = notices.notify("hi")
    notices.bench.rows("SELECT take_name(:id)", id=notices.alice)
    notices.push(fcm).deliver(notification_id)
    ((_, notice),) = fcm.notices
    assert notice.senders == (DELETED_USERNAME,)


def test_a_notification_says_how_much_is_unread_in_all_chats(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    carol, _ = notices.bench.person("carol")
    seen = notices.send("one", "two", sender=carol)
    notices.confirm(notices.bob, seen, 1, 2)
    notification_id = notices.notify("three")
    assert notices.push(fcm).deliver(notification_id) == "sent"
    ((_, notice),) = fcm.notices
    assert (notice.count, notice.unread) == (1, 3)


def test_who_has_read_all_is_shown_none_when_the_last_message_is_unsent(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify("one")
    notices.push(fcm).deliver(notification_id)
    ((chat_id,),) = notices.bench.rows("SELECT id FROM chats")
    for user, name, more in (
        (notices.alice, "unsend_message", {"seq": 1}),
        (notices.bob, "mark_as_read", {}),
    ):
        notices.bench.ask(notices.bench.event(user, name, {"chatId": str(chat_id), **more}))
    notices.push(fcm).deliver(notification_id)
    assert [(notice.count, notice.unread) for _, notice in fcm.notices] == [(1, 1), (0, 0)]


def test_texts_stay_out_when_the_team_hides_them(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notices.push(fcm, hide_texts=True).deliver(notices.notify("a secret"))
    assert "secret" not in repr(fcm.notices)


def test_a_long_text_is_shortened(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notices.push(fcm).deliver(notices.notify("x" * 4_000))
    assert len(fcm.notices[0][1].body) < 300


def test_a_notification_that_comes_again_is_not_sent_again(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify()
    sender = notices.push(fcm)
    assert [sender.deliver(notification_id), sender.deliver(notification_id)] == ["sent", "sent"]
    assert len(fcm.notices) == 1


def test_messages_delivered_meanwhile_are_not_sent(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify("one")
    ((chat_id,),) = notices.bench.rows("SELECT id FROM chats")
    notices.confirm(notices.bob, str(chat_id), 1, 1)
    assert notices.push(fcm).deliver(notification_id) == "obsolete"
    assert fcm.notices == []


def test_a_dead_device_is_removed(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify()
    fcm.failures = [DeviceGone()]
    assert notices.push(fcm).deliver(notification_id) == "no_device"
    assert notices.bench.rows("SELECT id FROM devices") == []


def test_a_device_that_was_registered_again_meanwhile_is_not_removed(notices: Notices) -> None:
    class Reviving(ListChannel):
        def send(self, *_: Any) -> str | None:
            notices.register(notices.bob)
            raise DeviceGone

    device_id = notices.register(notices.bob)
    notices.push(Reviving()).deliver(notices.notify())
    assert notices.bench.rows("SELECT id FROM devices") == [(device_id,)]


def test_the_endpoint_of_a_device_is_remembered_until_it_is_registered_again(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    fcm.endpoint = "arn:endpoint"
    notices.push(fcm).deliver(notices.notify())
    assert notices.bench.rows("SELECT endpoint FROM devices") == [("arn:endpoint",)]
    notices.register(notices.bob)
    assert notices.bench.rows("SELECT endpoint FROM devices") == [(None,)]


def test_a_late_notification_waits_for_the_end_of_the_quiet_hours(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify()
    start, end = (notices.now() + timedelta(hours=hours) for hours in (-1, 1))
    assert notices.push(fcm, quiet_hours=f"{start:%H:%M}-{end:%H:%M}").deliver(notification_id) == "quiet"
    assert fcm.notices == []
    notices.let_pass(3_601)
    assert notices.deliver() == {"queued": 1}
    assert notices.push(fcm).deliver(notification_id) == "sent"


def test_two_workers_with_the_same_notification_send_it_once(notices: Notices) -> None:
    class Meeting(ListChannel):
        """While one worker sends, the other one gets the same notification."""

        def send(self, *arguments: Any) -> str | None:
            with pytest.raises(TryLater):
                notices.push(fcm).deliver(notification_id)
            return super().send(*arguments)

    fcm = Meeting()
    notices.register(notices.bob)
    notification_id = notices.notify()
    assert notices.push(fcm).deliver(notification_id) == "sent"
    assert len(fcm.notices) == 1


def test_a_channel_that_is_not_set_up_is_skipped_and_its_device_kept(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob, "apns", "apple")
    assert notices.push(fcm).deliver(notices.notify()) == "no_device"
    assert len(notices.bench.rows("SELECT id FROM devices")) == 1


def test_a_notification_that_is_gone_is_not_tried_again(notices: Notices, fcm: ListChannel) -> None:
    assert notices.push(fcm).deliver(UUID(int=7)) == "unknown"


def test_the_log_channel_says_who_and_how_many_but_no_text(notices: Notices) -> None:
    notices.notify("a secret", "another")
    with capture_logs() as logs:
        summary = push_open(notices.context(push_log=True), Pacer(60), False)
    assert summary["sent"] == 1
    (notification,) = [line for line in logs if line["event"] == "notification"]
    assert notification["count"] == 2
    assert "secret" not in repr(logs)


def test_a_dry_run_counts_what_is_open(notices: Notices) -> None:
    notices.notify()
    assert push_open(notices.context(), Pacer(60), True) == {"open": 1}
    assert notices.bench.rows("SELECT outcome FROM notifications") == [(None,)]
