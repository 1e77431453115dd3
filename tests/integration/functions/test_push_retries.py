"""Push: what fails is tried again, and what never works becomes a dead letter."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from functions.errors import TriesExhausted, TryLater
from tests.integration.functions.notices import ListChannel, Notices
from workers.dead_letters import Letter, all_ids, find
from workers.replay import replay


def test_a_temporary_failure_is_tried_again_with_a_growing_pause(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify()
    sender = notices.push(fcm)
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
    notification_id = notices.notify()
    fcm.failures = [TryLater("throttled", after_s=500)]
    assert notices.push(fcm).attempt(notification_id) == "later"
    notices.let_pass(400)
    assert notices.deliver() == {}
    notices.let_pass(101)
    assert notices.deliver() == {"queued": 1}


def test_a_queue_that_tries_again_by_itself_is_left_alone(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify()
    fcm.failures = [TryLater("throttled")]
    with pytest.raises(TryLater):
        notices.push(fcm).deliver(notification_id)
    notices.let_pass(600)
    assert notices.deliver() == {}
    notices.let_pass(31)
    assert notices.deliver() == {"queued": 1}


def test_only_the_device_that_failed_is_tried_again(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob, address="one")
    notices.register(notices.bob, address="two")
    notification_id = notices.notify()
    fcm.failures = [TryLater("throttled")]
    assert notices.push(fcm).attempt(notification_id) == "later"
    assert notices.push(fcm).attempt(notification_id) == "sent"
    assert sorted(device.address for device, _ in fcm.notices) == ["one", "two"]


def test_a_channel_that_crashes_is_tried_again_and_ends_as_a_dead_letter(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify()
    sender = notices.push(fcm, push_tries=2)
    fcm.failures = [RuntimeError("token of bob"), RuntimeError("token of bob")]
    with capture_logs() as logs:
        assert [sender.attempt(notification_id) for _ in range(2)] == ["later", "failed"]
    assert "token of bob" not in repr(logs)
    assert "RuntimeError" in notices.bench.rows("SELECT error FROM dead_letters")[0].error


def test_a_notification_that_never_succeeds_becomes_a_dead_letter_without_texts(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify("a secret")
    sender = notices.push(fcm, push_tries=3)
    fcm.failures = [TryLater("FCM answers 503")] * 3
    assert [sender.attempt(notification_id) for _ in range(3)] == ["later", "later", "failed"]
    ((kept,),) = notices.bench.rows("SELECT to_jsonb(dead_letters) FROM dead_letters")
    assert (kept["id"], kept["event"], kept["user_id"]) == (str(notification_id), "push", str(notices.bob))
    assert "FCM answers 503" in kept["error"]
    assert "secret" not in repr(kept)
    notices.let_pass(700)
    assert notices.deliver() == {}


def test_a_dead_letter_that_is_sent_back_to_the_queue_is_tried_again(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify()
    sender = notices.push(fcm, push_tries=1)
    fcm.failures = [TryLater("down")]
    with pytest.raises(TriesExhausted):
        sender.deliver(notification_id)
    assert sender.deliver(notification_id) == "sent"
    assert notices.bench.rows("SELECT id FROM dead_letters") == []


def bury(notices: Notices, fcm: ListChannel) -> Letter:
    """Have a notification to bob fail until it is a dead letter."""
    notices.register(notices.bob)
    notification_id = notices.notify()
    fcm.failures = [TryLater("down")]
    with pytest.raises(TriesExhausted):
        notices.push(fcm, push_tries=1).deliver(notification_id)
    letter = find(notices.bench.engine, str(notification_id))
    assert letter is not None
    return letter


def test_a_dead_letter_that_is_replayed_is_queued_and_sent(notices: Notices, fcm: ListChannel) -> None:
    letter = bury(notices, fcm)
    assert replay(notices.bench.engine, notices.bench.processor, letter).done
    assert all_ids(notices.bench.engine) == []
    assert notices.deliver() == {"queued": 1}
    assert str(notices.queue.ids[-1]) == letter.id
    assert notices.push(fcm).deliver(notices.queue.ids[-1]) == "sent"


def test_a_dead_letter_of_yesterday_stays(notices: Notices, fcm: ListChannel) -> None:
    letter = bury(notices, fcm)
    notices.let_pass(86_400)
    result = replay(notices.bench.engine, notices.bench.processor, letter)
    assert (result.done, result.outcome) == (False, "too late: the notification is older than a day")
    assert all_ids(notices.bench.engine) == [letter.id]
    assert notices.deliver() == {}


def test_a_worker_that_died_while_sending_blocks_nobody_for_long(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify()
    fcm.failures = [KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        notices.push(fcm).deliver(notification_id)
    with pytest.raises(TryLater):
        notices.push(fcm).deliver(notification_id)
    notices.let_pass(301)
    assert notices.push(fcm).deliver(notification_id) == "sent"


def test_the_backend_hears_of_notifications_that_failed(notices: Notices, fcm: ListChannel) -> None:
    """Each failure is told once, also when somebody sent the notification back to the queue."""
    hooks: dict[str, Any] = {
        "webhooks": "app:notification.failed",
        "webhooks_urls": "app=https://app.example/",
        "webhooks_secrets": "app=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    notices.register(notices.bob)
    notification_id = notices.notify()
    fcm.failing["token"] = TryLater("fcm: down")
    sender = notices.push(fcm, push_tries=1, **hooks)
    assert [sender.attempt(notification_id) for _ in range(2)] == ["failed", "failed"]
    first, second = notices.bench.rows("SELECT * FROM outbox ORDER BY number")
    assert first.id != second.id
    assert (first.event, first.about, first.endpoint) == ("notification.failed", notices.bob, "app")
    body = json.loads(first.body)
    assert (body["notificationId"], body["userId"]) == (str(notification_id), str(notices.bob))
    assert body["error"] == "tried 1 times: fcm: down"
    assert len(body["chatIds"]) == 1


def test_the_backend_hears_of_notifications_that_were_never_sent(notices: Notices) -> None:
    hooks: dict[str, Any] = {
        "webhooks": "app",
        "webhooks_urls": "app=https://app.example/",
        "webhooks_secrets": "app=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    notices.register(notices.bob)
    notification_id = notices.notify()
    notices.let_pass(25 * 3600)
    notices.deliver(**hooks)
    notices.deliver(**hooks)
    told = notices.bench.rows("SELECT body FROM outbox WHERE event = 'notification.failed'")
    assert [json.loads(row.body)["notificationId"] for row in told] == [str(notification_id)]
