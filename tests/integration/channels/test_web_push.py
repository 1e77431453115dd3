"""Browsers can read what they are sent, and nobody else can."""

import base64
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import http_ece
import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from functions.channels.channel import Device
from functions.channels.outbound import make_session
from functions.channels.web_push import WebPushChannel
from functions.errors import ChannelMisconfigured, DeviceGone, NoticeRefused, TryLater
from tests.integration.channels.endpoint import Endpoint, Received
from tests.integration.channels.secrecy import LONG_NOTICE, NOTICE, REPLACEMENT, device, is_discreet, printed

SUBJECT = "mailto:admin@example.com"
VAPID_KEY = ec.generate_private_key(ec.SECP256R1())


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(key: ec.EllipticCurvePrivateKey) -> str:
    return base64url(key.private_numbers().private_value.to_bytes(32, "big"))


def pem(key: serialization.PrivateFormat, private: ec.EllipticCurvePrivateKey = VAPID_KEY) -> str:
    return private.private_bytes(serialization.Encoding.PEM, key, serialization.NoEncryption()).decode()


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


class Browser:
    """A subscription of a browser, which can read what is sent to it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = os.urandom(16)

    def device(self, url: str) -> Device:
        p256dh = base64url(point(self.key.public_key()))
        return device("webpush", url, p256dh=p256dh, auth=base64url(self.auth))

    def read(self, received: Received) -> bytes:
        plain: bytes = http_ece.decrypt(received.body, private_key=self.key, auth_secret=self.auth)
        return plain


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def channel(session: requests.Session) -> WebPushChannel:
    return WebPushChannel(session, raw(VAPID_KEY), SUBJECT)


def test_a_browser_can_read_the_notice(channel: WebPushChannel, browser: Browser, endpoint: Endpoint) -> None:
    channel.send(browser.device(endpoint.url("/push/1")), NOTICE)
    (received,) = endpoint.received
    assert received.path == "/push/1"
    assert json.loads(browser.read(received)) == {
        "id": str(NOTICE.id),
        "title": "Title of BB-Gram",
        "body": "the secret words",
        "count": 3,
        "unread": 7,
        "senders": ["bea", "carl"],
        "chatIds": [str(NOTICE.chat_ids[0])],
    }
    assert NOTICE.body.encode() not in received.body


def test_a_replacement_takes_the_place_of_a_notice_that_waits_and_says_so_to_the_browser(
    channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    channel.send(browser.device(endpoint.url("/")), NOTICE)
    channel.send(browser.device(endpoint.url("/")), REPLACEMENT)
    first, second = endpoint.received
    assert first.headers["topic"] == second.headers["topic"]
    assert json.loads(browser.read(second)) == {
        "id": str(NOTICE.id),
        "title": "Message deleted",
        "body": "",
        "count": 0,
        "unread": 0,
        "senders": [],
        "chatIds": [str(NOTICE.chat_ids[0])],
        "isReplacement": True,
    }


def test_a_notice_is_kept_for_a_day_and_takes_the_place_of_its_earlier_try(
    channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    channel.send(browser.device(endpoint.url("/")), NOTICE)
    channel.send(browser.device(endpoint.url("/")), NOTICE)
    first, second = (received.headers for received in endpoint.received)
    assert first["ttl"] == "86400"
    assert first["urgency"] == "normal"
    assert first["topic"] == second["topic"] == NOTICE.id.hex
    assert len(first["topic"]) <= 32


@pytest.mark.parametrize(
    "private_key",
    [
        raw(VAPID_KEY),
        pem(serialization.PrivateFormat.PKCS8),
        pem(serialization.PrivateFormat.TraditionalOpenSSL),
        pem(serialization.PrivateFormat.PKCS8).replace("\n", "\\n"),
    ],
    ids=["raw", "PKCS8", "OpenSSL", "escaped"],
)
def test_the_push_service_can_tell_who_sends(
    private_key: str, session: requests.Session, browser: Browser, endpoint: Endpoint
) -> None:
    WebPushChannel(session, private_key, SUBJECT).send(browser.device(endpoint.url("/")), NOTICE)
    scheme, _, rest = endpoint.received[0].headers["authorization"].partition(" ")
    fields = dict(field.split("=", 1) for field in rest.split(","))
    claims = jwt.decode(
        fields["t"],
        VAPID_KEY.public_key(),
        algorithms=["ES256"],
        audience=f"https://localhost:{endpoint.port}",
    )
    assert scheme == "vapid"
    assert fields["k"] == base64url(point(VAPID_KEY.public_key()))
    assert claims["sub"] == SUBJECT


def test_a_long_text_is_cut_so_that_every_push_service_takes_it(
    channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    channel.send(browser.device(endpoint.url("/")), LONG_NOTICE)
    (received,) = endpoint.received
    body = json.loads(browser.read(received))["body"]
    assert 2_000 < len(received.body) < 4_096
    assert body.endswith("…")
    assert LONG_NOTICE.body.startswith(body[:-1])


def test_a_notice_of_many_people_in_many_chats_fits_too(
    channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    crowd = replace(LONG_NOTICE, senders=("x" * 32,) * 500, chat_ids=NOTICE.chat_ids * 500)
    channel.send(browser.device(endpoint.url("/")), crowd)
    assert len(endpoint.received[0].body) < 4_096


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_has_ended_is_gone(
    status: int, channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    endpoint.status = status
    with pytest.raises(DeviceGone, match=f"^webpush: status {status}$"):
        channel.send(browser.device(endpoint.url("/")), NOTICE)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_accepted_is_our_mistake(
    status: int, channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    endpoint.status = status
    with pytest.raises(ChannelMisconfigured, match=f"^webpush: status {status}, the VAPID key"):
        channel.send(browser.device(endpoint.url("/")), NOTICE)
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("status", [400, 406, 413, 418])
def test_a_notice_that_is_not_accepted_is_not_tried_again(
    status: int, channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    endpoint.status = status
    with pytest.raises(NoticeRefused, match=f"^webpush: status {status}$") as caught:
        channel.send(browser.device(endpoint.url("/")), NOTICE)
    assert not isinstance(caught.value, ChannelMisconfigured)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_tried_again(
    status: int, channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    endpoint.status = status
    with pytest.raises(TryLater, match=f"^webpush: status {status}$") as caught:
        channel.send(browser.device(endpoint.url("/")), NOTICE)
    assert caught.value.after_s is None


def test_a_pause_that_the_push_service_asks_for_is_passed_on(
    channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    endpoint.status, endpoint.headers = 429, {"Retry-After": "37"}
    with pytest.raises(TryLater) as caught:
        channel.send(browser.device(endpoint.url("/")), NOTICE)
    assert caught.value.after_s == 37


def test_a_push_service_that_does_not_listen_is_tried_again(
    channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    url = endpoint.url("/")
    endpoint.stop()
    with pytest.raises(TryLater, match=r"^webpush: ConnectionError$"):
        channel.send(browser.device(url), NOTICE)


class PushService:
    """Accepts one VAPID key only, and remembers with which ones it was tried."""

    def __init__(self, endpoint: Endpoint, accepted: ec.EllipticCurvePrivateKey, status: int) -> None:
        self.tried: list[str] = []
        self._accepted = base64url(point(accepted.public_key()))
        self._status = status
        endpoint.misbehave = self._answer

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.tried.append(request.headers["Authorization"].rpartition("k=")[2])
        request.send_response(201 if self.tried[-1] == self._accepted else self._status)
        request.end_headers()


PREVIOUS_KEY = ec.generate_private_key(ec.SECP256R1())
CURRENT, PREVIOUS = (base64url(point(key.public_key())) for key in (VAPID_KEY, PREVIOUS_KEY))


@pytest.fixture
def changing(session: requests.Session) -> WebPushChannel:
    """The channel while keys change."""
    return WebPushChannel(session, raw(VAPID_KEY), SUBJECT, raw(PREVIOUS_KEY))


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_subscription_with_the_previous_key_gets_it_and_is_remembered(
    status: int, changing: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    service, target = PushService(endpoint, PREVIOUS_KEY, status), browser.device(endpoint.url("/"))
    assert changing.send(target, NOTICE) == PREVIOUS
    assert service.tried == [CURRENT, PREVIOUS]
    assert changing.send(replace(target, endpoint=PREVIOUS), NOTICE) == PREVIOUS
    assert service.tried[2:] == [PREVIOUS]
    assert json.loads(browser.read(endpoint.received[-1]))["body"] == NOTICE.body


def test_a_subscription_with_the_current_key_never_meets_the_previous_one(
    changing: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    service, target = PushService(endpoint, VAPID_KEY, 403), browser.device(endpoint.url("/"))
    assert changing.send(target, NOTICE) == CURRENT
    assert changing.send(replace(target, endpoint=CURRENT), NOTICE) == CURRENT
    assert service.tried == [CURRENT, CURRENT]


@pytest.mark.parametrize("status", [404, 410, 413, 429, 500])
def test_only_a_refused_key_leads_to_the_other_one(
    status: int, changing: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    endpoint.status = status
    with pytest.raises((DeviceGone, NoticeRefused, TryLater)):
        changing.send(browser.device(endpoint.url("/")), NOTICE)
    assert len(endpoint.received) == 1


def test_a_subscription_with_neither_key_is_our_mistake(
    changing: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    endpoint.status = 403
    with pytest.raises(ChannelMisconfigured):
        changing.send(browser.device(endpoint.url("/")), NOTICE)
    assert len(endpoint.received) == 2


@pytest.mark.parametrize("known", [PREVIOUS, "a key of long ago", None], ids=["previous", "old", "none"])
def test_with_one_key_there_is_no_choice_and_nothing_to_remember(
    known: str | None, channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    service = PushService(endpoint, VAPID_KEY, 403)
    assert channel.send(replace(browser.device(endpoint.url("/")), endpoint=known), NOTICE) is None
    assert service.tried == [CURRENT]


def test_the_same_key_twice_is_one(session: requests.Session, browser: Browser, endpoint: Endpoint) -> None:
    endpoint.status = 403
    channel = WebPushChannel(session, raw(VAPID_KEY), SUBJECT, pem(serialization.PrivateFormat.PKCS8))
    with pytest.raises(ChannelMisconfigured):
        channel.send(browser.device(endpoint.url("/")), NOTICE)
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("previous", ["nonsense", "", "-----BEGIN nonsense"])
def test_a_wrong_previous_key_is_reported_at_the_start(previous: str, session: requests.Session) -> None:
    with pytest.raises(ValueError, match=r"^it is not a VAPID key$"):
        WebPushChannel(session, raw(VAPID_KEY), SUBJECT, previous)


def test_a_redirect_is_gone_and_not_followed(
    channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    endpoint.status, endpoint.headers = 307, {"Location": endpoint.url("/elsewhere")}
    with pytest.raises(DeviceGone, match="redirect"):
        channel.send(browser.device(endpoint.url("/")), NOTICE)
    assert len(endpoint.received) == 1


@pytest.mark.parametrize(
    "url", ["http://localhost:{port}/", "https://127.0.0.1:{port}/", "https://[::1]:{port}/", "nonsense"]
)
def test_an_address_that_is_not_allowed_is_gone(
    url: str, channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    with pytest.raises(DeviceGone):
        channel.send(browser.device(url.format(port=endpoint.port)), NOTICE)
    assert not endpoint.received


def test_a_name_of_this_machine_is_gone(browser: Browser) -> None:
    with make_session() as session, pytest.raises(DeviceGone, match="not public"):
        WebPushChannel(session, raw(VAPID_KEY), SUBJECT).send(browser.device("https://localhost/"), NOTICE)


@pytest.mark.parametrize(
    "keys",
    [
        {"p256dh": None},
        {"p256dh": ""},
        {"p256dh": "AAAA"},
        {"p256dh": base64url(b"\x04" + bytes(64))},
        {"p256dh": "ä"},
        {"auth": None},
        {"auth": "short"},
        {"auth": base64url(bytes(17))},
    ],
)
def test_a_subscription_with_broken_keys_is_gone(
    keys: dict[str, Any], channel: WebPushChannel, browser: Browser, endpoint: Endpoint
) -> None:
    broken = replace(browser.device(endpoint.url("/")), **keys)
    with pytest.raises(DeviceGone, match="keys"):
        channel.send(broken, NOTICE)
    assert not endpoint.received


@pytest.mark.parametrize(
    ("private_key", "subject"),
    [
        ("nonsense", SUBJECT),
        ("", SUBJECT),
        ("-----BEGIN nonsense", SUBJECT),
        (pem(serialization.PrivateFormat.PKCS8, ec.generate_private_key(ec.SECP384R1())), SUBJECT),
        (
            generate_private_key(65537, 2048)
            .private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            .decode(),
            SUBJECT,
        ),
        (raw(VAPID_KEY), "admin@example.com"),
    ],
    ids=["nonsense", "nothing", "no PEM", "another curve", "RSA", "no address"],
)
def test_a_wrong_key_or_subject_is_reported_at_the_start(
    private_key: str, subject: str, session: requests.Session
) -> None:
    with pytest.raises(ValueError, match="VAPID") as caught:
        WebPushChannel(session, private_key, subject)
    assert is_discreet(printed(caught.value), private_key or SUBJECT)


Break = Callable[[Endpoint], None]


def answers_410(endpoint: Endpoint) -> None:
    endpoint.status = 410


def answers_500(endpoint: Endpoint) -> None:
    endpoint.status = 500


def redirects(endpoint: Endpoint) -> None:
    endpoint.status, endpoint.headers = 302, {"Location": "/top-secret"}


def does_not_listen(endpoint: Endpoint) -> None:
    endpoint.stop()


@pytest.mark.parametrize("failing", [answers_410, answers_500, redirects, does_not_listen])
def test_a_failure_reveals_nothing_private(
    failing: Break,
    channel: WebPushChannel,
    browser: Browser,
    endpoint: Endpoint,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing(endpoint)
    target = browser.device(endpoint.url("/top-secret"))
    with caplog.at_level(logging.DEBUG), pytest.raises((DeviceGone, TryLater)) as caught:
        channel.send(target, NOTICE)
    secrets = ("localhost", "top-secret", target.p256dh or "", target.auth or "", raw(VAPID_KEY))
    assert is_discreet(printed(caught.value) + caplog.text, *secrets)


def test_a_refused_address_reveals_nothing_private(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    target = browser.device("https://localhost/top-secret")
    with (
        make_session() as session,
        caplog.at_level(logging.DEBUG),
        pytest.raises(DeviceGone) as caught,
    ):
        WebPushChannel(session, raw(VAPID_KEY), SUBJECT).send(target, NOTICE)
    assert is_discreet(printed(caught.value) + caplog.text, "localhost", "127.0.0.1", "top-secret")
