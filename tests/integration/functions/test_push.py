"""Push: each device gets a notification once; what fails is tried again, and what never works is kept."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from functions.channels.channel import Gone, TryLater
from functions.context import Stopwatch
from functions.push import Failed, Push, push_due
from tests.harness.engines import Engines, Store
from tests.integration.functions.notices import ListChannel, Notices
from workers.dead_letters import Letter, all_ids, find
from workers.replay import replay


@pytest.fixture(scope="module")
def bench_store(engines: Engines) -> Iterator[Store]:
    """A store of this module's own: everybody's undelivered messages would be notified."""
    store = engines.new_store()
    yield store
    engines.release(store)


@pytest.fixture
def fcm() -> ListChannel:
    return ListChannel()


def notify(notices: Notices, *words: str) -> UUID:
    """Have bob miss messages; return the notification."""
    notices.send(*words or ("hello",))
    notices.let_pass(61)
    notices.deliver()
    return notices.queue.ids[-1]


def push(notices: Notices, fcm: ListChannel, **settings: Any) -> Push:
    return Push(notices.context(push_log=False, **settings), {"fcm": fcm})


def test_every_device_of_the_recipient_gets_the_digest(notices: Notices, fcm: ListChannel) -> None:
    devices = {notices.register(notices.bob, address=f"token-{number}") for number in range(3)}
    notices.register(notices.alice, address="alices")
    notification_id = notify(notices, "one", "two", "how are you?")
    assert push(notices, fcm).deliver(notification_id) == "sent"
    assert {device.id for device, _ in fcm.notices} == devices
    notice = fcm.notices[0][1]
    assert (notice.id, notice.count, notice.senders) == (notification_id, 3, (notices.alices_name,))
    assert notice.title == f"3 messages from {notices.alices_name}"
    assert notice.body == f"{notices.alices_name}: how are you?"


def test_texts_stay_out_when_the_team_hides_them(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    push(notices, fcm, hide_texts=True).deliver(notify(notices, "a secret"))
    assert "secret" not in repr(fcm.notices)


def test_a_long_text_is_shortened(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    push(notices, fcm).deliver(notify(notices, "x" * 4_000))
    assert len(fcm.notices[0][1].body) < 300


def test_a_notification_that_comes_again_is_not_sent_again(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices)
    sender = push(notices, fcm)
    assert [sender.deliver(notification_id), sender.deliver(notification_id)] == ["sent", "sent"]
    assert len(fcm.notices) == 1


def test_what_was_delivered_meanwhile_is_not_sent(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices, "one")
    ((chat_id,),) = notices.bench.rows("SELECT id FROM chats")
    notices.confirm(notices.bob, str(chat_id), 1, 1)
    assert push(notices, fcm).deliver(notification_id) == "obsolete"
    assert fcm.notices == []


def test_a_temporary_failure_is_tried_again_with_a_growing_pause(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices)
    sender = push(notices, fcm)
    fcm.failures = [TryLater("throttled"), TryLater("throttled")]
    pauses = []
    for _ in range(2):
        with pytest.raises(TryLater) as refused:
            sender.deliver(notification_id)
        pauses.append(refused.value.after_s)
    assert pauses == [30, 60]
    assert sender.deliver(notification_id) == "sent"
    assert len(fcm.notices) == 1


def test_the_pause_that_the_other_side_asks_for_is_kept(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices)
    fcm.failures = [TryLater("throttled", after_s=500)]
    assert push(notices, fcm).attempt(notification_id) == "later"
    notices.let_pass(400)
    assert notices.deliver() == {}
    notices.let_pass(101)
    assert notices.deliver() == {"queued": 1}


def test_a_queue_that_tries_again_by_itself_is_left_alone(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices)
    fcm.failures = [TryLater("throttled")]
    with pytest.raises(TryLater):
        push(notices, fcm).deliver(notification_id)
    notices.let_pass(600)
    assert notices.deliver() == {}
    notices.let_pass(31)
    assert notices.deliver() == {"queued": 1}


def test_only_the_device_that_failed_is_tried_again(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob, address="one")
    notices.register(notices.bob, address="two")
    notification_id = notify(notices)
    fcm.failures = [TryLater("throttled")]
    assert push(notices, fcm).attempt(notification_id) == "later"
    assert push(notices, fcm).attempt(notification_id) == "sent"
    assert sorted(device.address for device, _ in fcm.notices) == ["one", "two"]


def test_a_dead_device_is_removed(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices)
    fcm.failures = [Gone()]
    assert push(notices, fcm).deliver(notification_id) == "no_device"
    assert notices.bench.rows("SELECT id FROM devices") == []


def test_a_device_that_was_registered_again_meanwhile_is_not_removed(notices: Notices) -> None:
    class Reviving(ListChannel):
        def send(self, *_: Any) -> str | None:
            notices.register(notices.bob)
            raise Gone

    device_id = notices.register(notices.bob)
    push(notices, Reviving()).deliver(notify(notices))
    assert notices.bench.rows("SELECT id FROM devices") == [(device_id,)]


def test_the_endpoint_of_a_device_is_remembered_until_it_is_registered_again(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    fcm.endpoint = "arn:endpoint"
    push(notices, fcm).deliver(notify(notices))
    assert notices.bench.rows("SELECT endpoint FROM devices") == [("arn:endpoint",)]
    notices.register(notices.bob)
    assert notices.bench.rows("SELECT endpoint FROM devices") == [(None,)]


def test_what_never_succeeds_becomes_a_dead_letter_without_texts(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices, "a secret")
    sender = push(notices, fcm, push_tries=3)
    fcm.failures = [TryLater("FCM answers 503")] * 3
    assert [sender.attempt(notification_id) for _ in range(3)] == ["later", "later", "failed"]
    ((kept,),) = notices.bench.rows("SELECT to_jsonb(dead_letters) FROM dead_letters")
    assert (kept["id"], kept["event"], kept["user_id"]) == (str(notification_id), "push", str(notices.bob))
    assert "FCM answers 503" in kept["error"]
    assert "secret" not in repr(kept)
    notices.let_pass(700)
    assert notices.deliver() == {}


def test_a_channel_that_crashes_is_tried_again_and_ends_as_a_dead_letter(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices)
    sender = push(notices, fcm, push_tries=2)
    fcm.failures = [RuntimeError("token of bob"), RuntimeError("token of bob")]
    with capture_logs() as logs:
        assert [sender.attempt(notification_id) for _ in range(2)] == ["later", "failed"]
    assert "token of bob" not in repr(logs)
    assert "RuntimeError" in notices.bench.rows("SELECT error FROM dead_letters")[0].error


def test_a_late_notification_waits_for_the_end_of_the_quiet_hours(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices)
    start, end = (notices.now() + timedelta(hours=hours) for hours in (-1, 1))
    assert push(notices, fcm, quiet_hours=f"{start:%H:%M}-{end:%H:%M}").deliver(notification_id) == "quiet"
    assert fcm.notices == []
    notices.let_pass(3_601)
    assert notices.deliver() == {"queued": 1}
    assert push(notices, fcm).deliver(notification_id) == "sent"


def test_a_dead_letter_that_is_sent_back_to_the_queue_is_tried_again(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices)
    sender = push(notices, fcm, push_tries=1)
    fcm.failures = [TryLater("down")]
    with pytest.raises(Failed):
        sender.deliver(notification_id)
    assert sender.deliver(notification_id) == "sent"
    assert notices.bench.rows("SELECT id FROM dead_letters") == []


def bury(notices: Notices, fcm: ListChannel) -> Letter:
    """Have a notification to bob fail for good."""
    notices.register(notices.bob)
    notification_id = notify(notices)
    fcm.failures = [TryLater("down")]
    with pytest.raises(Failed):
        push(notices, fcm, push_tries=1).deliver(notification_id)
    letter = find(notices.bench.engine, str(notification_id))
    assert letter is not None
    return letter


def test_a_dead_letter_that_is_replayed_is_queued_and_sent(notices: Notices, fcm: ListChannel) -> None:
    letter = bury(notices, fcm)
    assert replay(notices.bench.engine, notices.bench.processor, letter).done
    assert all_ids(notices.bench.engine) == []
    assert notices.deliver() == {"queued": 1}
    assert str(notices.queue.ids[-1]) == letter.id
    assert push(notices, fcm).deliver(notices.queue.ids[-1]) == "sent"


def test_a_dead_letter_of_yesterday_stays(notices: Notices, fcm: ListChannel) -> None:
    letter = bury(notices, fcm)
    notices.let_pass(86_400)
    result = replay(notices.bench.engine, notices.bench.processor, letter)
    assert (result.done, result.outcome) == (False, "too late: the notification is older than a day")
    assert all_ids(notices.bench.engine) == [letter.id]
    assert notices.deliver() == {}


def test_two_workers_with_the_same_notification_send_it_once(notices: Notices) -> None:
    class Meeting(ListChannel):
        """While one worker sends, the other one gets the same notification."""

        def send(self, *arguments: Any) -> str | None:
            with pytest.raises(TryLater):
                push(notices, fcm).deliver(notification_id)
            return super().send(*arguments)

    fcm = Meeting()
    notices.register(notices.bob)
    notification_id = notify(notices)
    assert push(notices, fcm).deliver(notification_id) == "sent"
    assert len(fcm.notices) == 1


def test_a_worker_that_died_while_sending_blocks_nobody_for_long(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notify(notices)
    fcm.failures = [KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        push(notices, fcm).deliver(notification_id)
    with pytest.raises(TryLater):
        push(notices, fcm).deliver(notification_id)
    notices.let_pass(301)
    assert push(notices, fcm).deliver(notification_id) == "sent"


def test_a_channel_that_is_not_set_up_is_skipped_and_its_device_kept(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob, "apns", "apple")
    assert push(notices, fcm).deliver(notify(notices)) == "no_device"
    assert len(notices.bench.rows("SELECT id FROM devices")) == 1


def test_a_notification_that_is_gone_is_nothing_to_try_again(notices: Notices, fcm: ListChannel) -> None:
    assert push(notices, fcm).deliver(UUID(int=7)) == "unknown"


def test_the_log_channel_tells_who_and_how_much_and_no_text(notices: Notices) -> None:
    notify(notices, "a secret", "another")
    with capture_logs() as logs:
        summary = push_due(notices.context(push_log=True), Stopwatch(60), False)
    assert summary["sent"] == 1
    (notification,) = [line for line in logs if line["event"] == "notification"]
    assert notification["count"] == 2
    assert "secret" not in repr(logs)


def test_a_dry_run_counts_what_is_open(notices: Notices) -> None:
    notify(notices)
    assert push_due(notices.context(), Stopwatch(60), True) == {"open": 1}
    assert notices.bench.rows("SELECT outcome FROM notifications") == [(None,)]
