"""Push: what becomes of one device does not concern the others."""

import pytest
from structlog.testing import capture_logs

from functions.errors import ChannelMisconfigured, DeviceGone, NoticeRefused, TriesExhausted, TryLater
from tests.integration.functions.notices import ListChannel, Notices

FAILURES = {
    "gone": DeviceGone("webpush: status 410"),
    "refused": NoticeRefused("webpush: status 413"),
    "misconfigured": ChannelMisconfigured("webpush: status 403"),
    "crashed": RuntimeError("token of bob"),
    "busy": TryLater("webpush: status 503"),
}


def outcomes(notices: Notices) -> list[tuple[str | None, int]]:
    rows = notices.bench.rows("SELECT outcome, tries FROM notifications")
    return [(row.outcome, row.tries) for row in rows]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_notification_that_one_device_has_is_sent(notices: Notices, fcm: ListChannel, failure: str) -> None:
    notices.register(notices.bob, address="good")
    notices.register(notices.bob, address="bad")
    fcm.failing = {"bad": FAILURES[failure]}
    notification_id = notices.notify()
    sender = notices.push(fcm, push_tries=3)
    results = [sender.attempt(notification_id) for _ in range(4)]
    is_temporary = failure in ("busy", "crashed")
    assert results == (["later", "later", "sent", "sent"] if is_temporary else ["sent"] * 4)
    assert fcm.asked.count("good") == 1
    assert fcm.asked.count("bad") == (3 if is_temporary else 1)
    assert outcomes(notices) == [("sent", 3 if is_temporary else 1)]
    assert notices.bench.rows("SELECT id FROM dead_letters") == []


@pytest.mark.parametrize("failure", ["refused", "misconfigured"])
def test_what_no_device_accepts_is_a_dead_letter_at_once(
    notices: Notices, fcm: ListChannel, failure: str
) -> None:
    notices.register(notices.bob, address="bad")
    notices.register(notices.bob, address="gone")
    fcm.failing = {"bad": FAILURES[failure], "gone": DeviceGone()}
    notification_id = notices.notify()
    assert notices.push(fcm).deliver(notification_id) == "failed"
    assert sorted(fcm.asked) == ["bad", "gone"]
    assert outcomes(notices) == [("failed", 1)]
    ((error,),) = notices.bench.rows("SELECT error FROM dead_letters")
    assert error == f"tried 1 times: {FAILURES[failure]}"
    assert [row.address for row in notices.bench.rows("SELECT address FROM devices")] == ["bad"]
    fcm.failing = {}
    assert notices.push(fcm).deliver(notification_id) == "sent"
    assert notices.bench.rows("SELECT id FROM dead_letters") == []


def test_a_dead_letter_names_what_was_refused_and_what_was_tried_in_vain(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob, address="one")
    notices.register(notices.bob, address="two")
    fcm.failing = {"one": FAILURES["refused"], "two": FAILURES["busy"]}
    notification_id = notices.notify()
    with pytest.raises(TriesExhausted, match=r"^tried 1 times: webpush: status 413; webpush: status 503$"):
        notices.push(fcm, push_tries=1).deliver(notification_id)


@pytest.mark.parametrize("refusal", ["refused", "misconfigured"])
def test_a_device_that_refused_it_is_not_asked_again_while_others_are(
    notices: Notices, fcm: ListChannel, refusal: str
) -> None:
    for address in ("refusing", "busy"):
        notices.register(notices.bob, address=address)
    fcm.failing = {"refusing": FAILURES[refusal], "busy": FAILURES["busy"]}
    notification_id = notices.notify()
    results = [notices.push(fcm, push_tries=3).attempt(notification_id) for _ in range(3)]
    assert results == ["later", "later", "failed"]
    assert sorted(fcm.asked) == ["busy"] * 3 + ["refusing"]
    ((error,),) = notices.bench.rows("SELECT error FROM dead_letters")
    assert error == "tried 3 times: fcm: refused before; webpush: status 503"
    # Somebody who sends a dead letter back has mended what was wrong.
    fcm.failing = {}
    assert notices.push(fcm).deliver(notification_id) == "sent"
    assert fcm.asked.count("refusing") == 2


def test_what_was_refused_is_a_dead_letter_even_if_the_other_device_has_gone(
    notices: Notices, fcm: ListChannel
) -> None:
    for address in ("refusing", "busy"):
        notices.register(notices.bob, address=address)
    fcm.failing = {"refusing": FAILURES["refused"], "busy": FAILURES["busy"]}
    notification_id = notices.notify()
    assert notices.push(fcm).attempt(notification_id) == "later"
    fcm.failing["busy"] = FAILURES["gone"]
    assert notices.push(fcm).attempt(notification_id) == "failed"
    assert outcomes(notices) == [("failed", 2)]


def test_a_device_that_is_unregistered_later_still_had_it(notices: Notices, fcm: ListChannel) -> None:
    had_it = notices.register(notices.bob, address="good")
    notices.register(notices.bob, address="bad")
    fcm.failing = {"bad": FAILURES["busy"]}
    notification_id = notices.notify()
    sender = notices.push(fcm, push_tries=2)
    assert sender.attempt(notification_id) == "later"
    event = notices.bench.event(notices.bob, "unregister_device", {"deviceId": str(had_it)})
    notices.bench.ask(event)
    assert sender.attempt(notification_id) == "sent"


def test_a_notification_that_one_device_has_is_sent_after_a_day_too(
    notices: Notices, fcm: ListChannel
) -> None:
    notices.register(notices.bob, address="good")
    notices.register(notices.bob, address="bad")
    fcm.failing = {"bad": FAILURES["busy"]}
    assert notices.push(fcm).attempt(notices.notify()) == "later"
    notices.let_pass(86_400)
    notices.deliver()
    assert outcomes(notices) == [("sent", 1)]
    assert notices.bench.rows("SELECT id FROM dead_letters") == []


def test_a_setting_that_is_wrong_is_reported_once_and_costs_no_device(
    notices: Notices, fcm: ListChannel
) -> None:
    for number in range(3):
        notices.register(notices.bob, address=f"token-{number}")
    fcm.failing = {f"token-{number}": FAILURES["misconfigured"] for number in range(3)}
    sender = notices.push(fcm)
    with capture_logs() as logs:
        for _ in range(2):
            assert sender.deliver(notices.notify()) == "failed"
    reported = [line for line in logs if line["event"] == "channel_misconfigured"]
    assert [(line["channel"], line["error"]) for line in reported] == [("fcm", "webpush: status 403")]
    assert len(notices.bench.rows("SELECT id FROM devices")) == 3


def test_the_log_says_what_became_of_the_devices_and_names_no_address(
    notices: Notices, fcm: ListChannel
) -> None:
    for address in ("good", *FAILURES):
        notices.register(notices.bob, address=address)
    notices.register(notices.bob, "apns", "apple")
    fcm.failing = FAILURES
    with capture_logs() as logs:
        assert notices.push(fcm, push_tries=1).deliver(notices.notify()) == "sent"
    (finished,) = [line for line in logs if line["event"] == "notification_finished"]
    counts = {name: count for name, count in finished.items() if name.startswith("devices_")}
    assert counts == {
        **{"devices_sent": 1, "devices_gone": 1, "devices_refused": 2, "devices_later": 2},
        "devices_not_configured": 1,
    }
    assert not any("good" in repr(line) or "apple" in repr(line) for line in logs)
