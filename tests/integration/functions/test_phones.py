"""Push to phones without AWS: what FCM and APNs answer, and what becomes of device and notification."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from functions.push import Push
from tests.integration.channels.endpoint import make_certificate
from tests.integration.channels.push_services import KEY_ID, TOPIC, Answer, Apns, Fcm, pem
from tests.integration.functions.notices import Notices

TOKEN = "bk3RNwTe3H0:CI2k_HHwgIpoDKCIZvvDMExUdFQ3P1"
APPLE_TOKEN = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
ARN = "arn:aws:sns:eu-central-1:123456789012:endpoint/GCM/chat/1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def google(certificate: Path) -> Iterator[Fcm]:
    server = Fcm(certificate)
    yield server
    server.stop()


@pytest.fixture
def apple(certificate: Path) -> Iterator[Apns]:
    server = Apns(certificate)
    yield server
    server.stop()


class Phones:
    """Bob's phones, and what pushes to them."""

    def __init__(self, notices: Notices, google: Fcm, apple: Apns) -> None:
        self.notices = notices
        self.channels: dict[str, Any] = {"fcm": google.channel(), "apns": apple.channel()}
        self.push = self.pusher()

    def pusher(self, **settings: Any) -> Push:
        self.push = Push(self.notices.context(push_log=False, **settings), self.channels)
        return self.push

    def android(self, **more: Any) -> UUID:
        return self.notices.register(self.notices.bob, "fcm", TOKEN, **more)

    def iphone(self, **more: Any) -> UUID:
        return self.notices.register(self.notices.bob, "apns", APPLE_TOKEN, **more)

    def attempt(self, *words: str) -> str:
        return self.push.attempt(self.notices.notify(*words))

    def devices(self) -> list[str]:
        return [row.channel for row in self.notices.bench.rows("SELECT channel FROM devices ORDER BY 1")]


@pytest.fixture
def phones(notices: Notices, google: Fcm, apple: Apns) -> Phones:
    return Phones(notices, google, apple)


def fcm_error(status: int, code: str, *fields: str, **headers: str) -> Answer:
    """Return an error as FCM words it."""
    details: list[dict[str, Any]] = [{"@type": FCM_ERROR, "errorCode": code}]
    if fields:
        violations = [{"field": field, "description": "wrong"} for field in fields]
        details.append({"@type": BAD_REQUEST, "fieldViolations": violations})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"error": {"code": status, "message": TOKEN, "details": details}}, named)


def fcm_bad_request(violations: Any) -> Answer:
    """Return an invalid argument with violations that are not as FCM words them."""
    details = [
        {"@type": FCM_ERROR, "errorCode": "INVALID_ARGUMENT"},
        {"@type": BAD_REQUEST, "fieldViolations": violations},
    ]
    return Answer(400, {"error": {"code": 400, "message": TOKEN, "details": details}})


@pytest.mark.parametrize(
    ("answer", "outcome", "is_kept"),
    [
        (Answer(200, {"name": "projects/chat-1/messages/1"}), "sent", True),
        (fcm_error(404, "UNREGISTERED"), "no_device", False),
        (fcm_error(400, "INVALID_ARGUMENT"), "failed", True),
        (fcm_error(400, "INVALID_ARGUMENT", "message.token"), "no_device", False),
        (fcm_error(400, "INVALID_ARGUMENT", "message.data[0].value"), "failed", True),
        (fcm_error(400, "INVALID_ARGUMENT", "message.token", "message.data[0].value"), "failed", True),
        (fcm_bad_request(None), "failed", True),
        (fcm_bad_request(["x"]), "failed", True),
        (fcm_bad_request([]), "failed", True),
        (fcm_bad_request(1), "failed", True),
        (fcm_error(403, "SENDER_ID_MISMATCH"), "failed", True),
        (fcm_error(429, "QUOTA_EXCEEDED"), "later", True),
        (fcm_error(500, "INTERNAL"), "later", True),
        (fcm_error(503, "UNAVAILABLE"), "later", True),
        (Answer(404, "<html>no such project</html>"), "failed", True),
        (Answer(400, {"error": {"details": "nothing to read"}}), "failed", True),
        (Answer(502, "<html>a proxy</html>"), "later", True),
    ],
)
def test_what_fcm_answers_decides_what_becomes_of_device_and_notification(
    phones: Phones, google: Fcm, answer: Answer, outcome: str, is_kept: bool
) -> None:
    phones.android()
    google.answers = [answer]
    assert phones.attempt() == outcome
    assert phones.devices() == (["fcm"] if is_kept else [])


@pytest.mark.parametrize(
    ("status", "reason", "outcome", "is_kept"),
    [
        (410, "Unregistered", "no_device", False),
        (410, "ExpiredToken", "no_device", False),
        (400, "BadDeviceToken", "no_device", False),
        (400, "DeviceTokenNotForTopic", "no_device", False),
        (400, "BadTopic", "failed", True),
        (400, "BadCollapseId", "failed", True),
        (403, "InvalidProviderToken", "failed", True),
        (403, "Forbidden", "failed", True),
        (413, "PayloadTooLarge", "failed", True),
        (429, "TooManyRequests", "later", True),
        (429, "TooManyProviderTokenUpdates", "later", True),
        (500, "InternalServerError", "later", True),
        (503, "ServiceUnavailable", "later", True),
        (503, "Shutdown", "later", True),
    ],
)
def test_what_apns_answers_decides_what_becomes_of_device_and_notification(
    phones: Phones, apple: Apns, status: int, reason: str, outcome: str, is_kept: bool
) -> None:
    phones.iphone()
    assert phones.attempt() == "sent"
    apple.answers = [Answer(status, {"reason": reason})]
    assert phones.attempt() == outcome
    assert phones.devices() == (["apns"] if is_kept else [])


@pytest.mark.parametrize("reason", ["BadDeviceToken", "DeviceTokenNotForTopic"])
def test_a_wrong_topic_or_environment_costs_no_device(phones: Phones, apple: Apns, reason: str) -> None:
    phones.iphone()
    apple.answers = [Answer(400, {"reason": reason})]
    with capture_logs() as logs:
        assert phones.attempt() == "failed"
    assert phones.devices() == ["apns"]
    assert [line["channel"] for line in logs if line["event"] == "channel_misconfigured"] == ["apns"]


def test_what_is_no_token_of_apple_is_not_sent(phones: Phones, notices: Notices, apple: Apns) -> None:
    notices.register(notices.bob, "apns", "../../x")
    assert phones.attempt() == "no_device"
    assert (phones.devices(), apple.sent) == ([], [])


def test_an_android_device_gets_the_form_of_fcm(phones: Phones, google: Fcm) -> None:
    phones.android()
    notification_id = phones.notices.notify("See you at eight")
    assert phones.push.attempt(notification_id) == "sent"
    (message,) = google.messages
    sender = phones.notices.alices_name
    assert message["token"] == TOKEN
    assert message["notification"] == {
        "title": f"Message from {sender}",
        "body": f"{sender}: See you at eight",
    }
    assert message["android"] == {
        "collapse_key": str(notification_id),
        "notification": {"tag": str(notification_id)},
    }
    assert message["data"].keys() == {"id", "count", "unread", "chatIds"}


def test_an_apple_device_gets_the_form_of_apns_with_a_badge(phones: Phones, apple: Apns) -> None:
    phones.iphone()
    notification_id = phones.notices.notify("one", "two")
    assert phones.push.attempt(notification_id) == "sent"
    (sent,) = apple.sent
    assert sent.path == f"/3/device/{APPLE_TOKEN}"
    assert (sent.headers["apns-topic"], sent.headers["apns-push-type"]) == (TOPIC, "alert")
    assert sent.headers["apns-collapse-id"] == str(notification_id)
    assert sent.payload["aps"]["badge"] == 2
    assert sent.payload["aps"]["alert"]["body"].endswith("two")


def test_a_long_text_is_cut_so_that_both_take_it(phones: Phones, google: Fcm, apple: Apns) -> None:
    phones.android()
    phones.iphone()
    assert phones.attempt(*["ä\n😀" * 600] * 3) == "sent"
    assert google.messages[0]["notification"]["body"].endswith("…")
    assert apple.sent[0].payload["aps"]["alert"]["body"].endswith("…")


def test_connections_and_tokens_serve_many_notices(phones: Phones, google: Fcm, apple: Apns) -> None:
    phones.android()
    phones.iphone()
    for _ in range(3):
        assert phones.attempt() == "sent"
    assert len(google.tokens) == 1
    assert (apple.connections, len(apple.sent), len(apple.tokens)) == (1, 3, 1)


def test_an_access_token_that_is_refused_is_renewed_once(phones: Phones, google: Fcm) -> None:
    phones.android()
    assert phones.attempt() == "sent"
    google.answers = [Answer(401), Answer(200)]
    assert phones.attempt() == "sent"
    assert len(google.tokens) == 2
    google.answers = [Answer(401), fcm_error(401, "THIRD_PARTY_AUTH_ERROR")]
    assert phones.attempt() == "failed"
    assert len(google.tokens) == 3


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(400, {"error": "invalid_grant"}), "failed"),
        (Answer(401, {"error": "invalid_client"}), "failed"),
    ],
)
def test_a_service_account_that_is_refused_costs_no_device(
    phones: Phones, google: Fcm, answer: Answer, outcome: str
) -> None:
    phones.android()
    google.token_answers = [answer]
    assert phones.attempt() == outcome
    assert phones.devices() == ["fcm"]


def test_a_key_that_apple_does_not_know_costs_no_device(phones: Phones, apple: Apns) -> None:
    phones.iphone()
    phones.channels["apns"] = apple.channel(pem(ec.generate_private_key(ec.SECP256R1())))
    phones.pusher()
    assert phones.attempt() == "failed"
    assert phones.devices() == ["apns"]


class Clock:
    """The time of a module, which goes on only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: str, start: float = 1_800_000_000.0) -> None:
        self.now = start
        fake = SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now)
        monkeypatch.setattr(f"{module}.time", fake)


def test_a_provider_token_is_renewed_between_20_and_60_minutes(
    phones: Phones, apple: Apns, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, "functions.channels.apns", time.time() - 7_200)
    phones.iphone()
    for minutes, tokens in ((0, 1), (20, 1), (30, 2), (10, 2)):
        clock.now += 60 * minutes
        assert phones.attempt() == "sent"
        assert len(apple.tokens) == tokens


def test_a_provider_token_that_has_expired_early_is_renewed_once_in_20_minutes(
    phones: Phones, apple: Apns, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, "functions.channels.apns", time.time() - 7_200)
    expired = Answer(403, {"reason": "ExpiredProviderToken"})
    phones.iphone()
    apple.answers = [expired]
    assert phones.attempt() == "sent"
    assert len(apple.sent) == 2
    apple.answers = [expired]
    assert phones.attempt() == "failed"
    assert len(apple.sent) == 3
    clock.now += 1_300
    apple.answers = [expired]
    assert phones.attempt() == "sent"


def tries(notices: Notices) -> list[int]:
    return [row.tries for row in notices.bench.rows("SELECT tries FROM notifications ORDER BY id")]


def test_a_busy_service_is_left_alone_as_long_as_it_asks(
    phones: Phones, google: Fcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, "functions.fan_out")
    phones.android()
    google.answers = [fcm_error(429, "QUOTA_EXCEEDED", retry_after="300")]
    first, second = phones.notices.notify(), phones.notices.notify()
    push = phones.pusher(push_tries=2)
    assert [push.attempt(id_) for id_ in (first, second, second, second, second)] == ["later"] * 5
    assert len(google.messages) == 1
    assert tries(phones.notices) == [1, 0]
    ((left_s,),) = phones.notices.bench.rows(
        "SELECT extract(epoch FROM next_at - now()) FROM notifications WHERE id = :id", id=second
    )
    assert 290 < left_s <= 300
    clock.now += 301
    assert push.attempt(second) == "sent"
    assert push.attempt(first) == "sent"


def test_a_service_that_stays_busy_is_asked_less_and_less(
    phones: Phones, google: Fcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, "functions.fan_out")
    phones.android()
    google.answers = [fcm_error(503, "UNAVAILABLE") for _ in range(4)]
    notification_id = phones.notices.notify()
    push = phones.pusher(push_tries=9)
    asked_at = []
    for second in range(0, 220, 5):
        clock.now = 1_800_000_000.0 + second
        before = len(google.messages)
        push.attempt(notification_id)
        asked_at += [second] * (len(google.messages) - before)
    assert asked_at == [0, 30, 90, 210]


def test_one_busy_service_does_not_concern_the_other(phones: Phones, google: Fcm, apple: Apns) -> None:
    phones.android()
    phones.iphone()
    google.answers = [fcm_error(429, "QUOTA_EXCEEDED")]
    missed = [phones.notices.notify(), phones.notices.notify()]
    assert [phones.push.attempt(id_) for id_ in missed] == ["later", "later"]
    assert (len(google.messages), len(apple.sent)) == (1, 2)


def test_too_many_requests_for_one_apple_device_do_not_concern_another(phones: Phones, apple: Apns) -> None:
    phones.iphone()
    apple.answers = [Answer(429, {"reason": "TooManyRequests"})]
    missed = [phones.notices.notify(), phones.notices.notify()]
    assert [phones.push.attempt(id_) for id_ in missed] == ["later", "sent"]


def test_an_endpoint_of_sns_is_neither_used_nor_lost(phones: Phones, google: Fcm) -> None:
    phones.android()
    phones.notices.bench.rows("UPDATE devices SET endpoint = :arn", arn=ARN)
    assert phones.attempt() == "sent"
    assert google.messages[0]["token"] == TOKEN
    assert phones.notices.bench.rows("SELECT endpoint FROM devices") == [(ARN,)]


def test_a_server_that_is_down_is_tried_later(phones: Phones, google: Fcm, apple: Apns) -> None:
    phones.android()
    phones.iphone()
    google.shut()
    apple.shut()
    assert phones.attempt() == "later"
    assert phones.devices() == ["apns", "fcm"]


def test_no_log_has_a_token_or_a_text(
    phones: Phones, google: Fcm, apple: Apns, caplog: pytest.LogCaptureFixture
) -> None:
    phones.android()
    phones.iphone()
    google.answers = [fcm_error(400, "INVALID_ARGUMENT", "message.data[0].value")]
    apple.answers = [Answer(400, {"reason": f"wrong {APPLE_TOKEN}"})]
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        assert phones.attempt("the secret words") == "failed"
    said = f"{logs} {caplog.text} {phones.notices.bench.rows('SELECT error FROM dead_letters')}"
    for secret in (TOKEN, APPLE_TOKEN, "secret words", "access-0", KEY_ID, "bearer"):
        assert secret not in said


GERMAN = """
[de]
messages = ["Nachricht", "{count} Nachrichten"]
title = "{messages} von {senders}"
body = "{sender}: {text}"
two = "{first} und {second}"
more = "{first}, {second} und {count} weiteren"
deleted = "Nachricht gelöscht"
"""


def test_each_device_is_told_in_its_language(
    phones: Phones, google: Fcm, apple: Apns, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.toml"
    texts.write_text(GERMAN)
    phones.pusher(notification_texts=str(texts))
    phones.android(language="de_AT")
    phones.iphone(language="pt-BR")
    sender = phones.notices.alices_name
    assert phones.attempt("one", "two") == "sent"
    assert google.messages[0]["notification"]["title"] == f"2 Nachrichten von {sender}"
    assert apple.sent[0].payload["aps"]["alert"]["title"] == f"2 messages from {sender}"


def test_a_replacement_is_in_the_language_of_the_device(phones: Phones, google: Fcm, tmp_path: Path) -> None:
    texts = tmp_path / "texts.toml"
    texts.write_text(GERMAN)
    push = phones.pusher(notification_texts=str(texts))
    phones.android(language="de")
    notices = phones.notices
    notification_id = notices.notify("oops")
    assert push.attempt(notification_id) == "sent"
    ((chat_id, seq),) = notices.bench.rows("SELECT chat_id, seq FROM messages")
    notices.bench.ask(
        notices.bench.event(notices.alice, "unsend_message", {"chatId": str(chat_id), "seq": seq})
    )
    assert push.attempt(notification_id) == "sent"
    assert google.messages[1]["notification"]["title"] == "Nachricht gelöscht"
    assert google.messages[1]["android"] == google.messages[0]["android"]
