"""Webhooks are signed, and repeated with the same id."""

import json
import logging

import pytest
import requests
from standardwebhooks import Webhook, WebhookVerificationError

from functions.channels.outbound import make_session
from functions.channels.webhook import WebhookChannel
from functions.errors import DeviceGone, NoticeRefused, TryLater
from tests.integration.channels.endpoint import Endpoint
from tests.integration.channels.secrecy import NOTICE, device, is_discreet, printed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def channel(session: requests.Session) -> WebhookChannel:
    return WebhookChannel(session, SECRET)


def test_a_service_gets_the_notice_and_can_tell_who_sent_it(
    channel: WebhookChannel, endpoint: Endpoint
) -> None:
    channel.send(device("webhook", endpoint.url("/hook")), NOTICE)
    (received,) = endpoint.received
    assert received.path == "/hook"
    assert received.headers["content-type"] == "application/json"
    assert Webhook(SECRET).verify(received.body, received.headers) == {
        "type": "notification",
        "data": {
            "userId": "00000000-0000-0000-0000-000000000008",
            "id": str(NOTICE.id),
            "title": "Title of BB-Gram",
            "body": "the secret words",
            "count": 3,
            "unread": 7,
            "senders": ["bea", "carl"],
            "chatIds": [str(NOTICE.chat_ids[0])],
        },
    }


def test_a_notice_that_was_changed_on_its_way_is_recognized(
    channel: WebhookChannel, endpoint: Endpoint
) -> None:
    channel.send(device("webhook", endpoint.url("/")), NOTICE)
    (received,) = endpoint.received
    changed = json.loads(received.body) | {"type": "other"}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(json.dumps(changed), received.headers)


def test_a_repetition_carries_the_same_id(channel: WebhookChannel, endpoint: Endpoint) -> None:
    channel.send(device("webhook", endpoint.url("/")), NOTICE)
    channel.send(device("webhook", endpoint.url("/")), NOTICE)
    first, second = (received.headers["webhook-id"] for received in endpoint.received)
    assert first == second == f"{NOTICE.id}_00000000-0000-0000-0000-000000000007"


@pytest.mark.parametrize("status", [200, 202, 204])
def test_every_kind_of_success_is_one(status: int, channel: WebhookChannel, endpoint: Endpoint) -> None:
    endpoint.status = status
    channel.send(device("webhook", endpoint.url("/")), NOTICE)


def test_a_service_that_says_gone_is_gone(channel: WebhookChannel, endpoint: Endpoint) -> None:
    endpoint.status = 410
    with pytest.raises(DeviceGone, match=r"^webhook: status 410$"):
        channel.send(device("webhook", endpoint.url("/")), NOTICE)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
def test_a_service_that_does_not_accept_it_is_not_asked_again(
    status: int, channel: WebhookChannel, endpoint: Endpoint
) -> None:
    endpoint.status = status
    with pytest.raises(NoticeRefused, match=f"^webhook: status {status}$"):
        channel.send(device("webhook", endpoint.url("/")), NOTICE)


@pytest.mark.parametrize("status", [408, 409, 421, 423, 425, 429, 500, 502, 503, 504])
def test_a_service_that_is_broken_for_a_while_is_tried_again(
    status: int, channel: WebhookChannel, endpoint: Endpoint
) -> None:
    endpoint.status = status
    with pytest.raises(TryLater, match=f"^webhook: status {status}$") as caught:
        channel.send(device("webhook", endpoint.url("/")), NOTICE)
    assert caught.value.after_s is None


def test_a_pause_that_the_service_asks_for_is_passed_on(channel: WebhookChannel, endpoint: Endpoint) -> None:
    endpoint.status, endpoint.headers = 429, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}
    with pytest.raises(TryLater) as caught:
        channel.send(device("webhook", endpoint.url("/")), NOTICE)
    assert caught.value.after_s == 21_600


def test_a_redirect_is_gone_and_not_followed(channel: WebhookChannel, endpoint: Endpoint) -> None:
    endpoint.status, endpoint.headers = 308, {"Location": endpoint.url("/elsewhere")}
    with pytest.raises(DeviceGone, match="redirect"):
        channel.send(device("webhook", endpoint.url("/")), NOTICE)
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("url", ["http://localhost:{port}/", "https://127.0.0.1:{port}/", "nonsense"])
def test_an_address_that_is_not_allowed_is_gone(
    url: str, channel: WebhookChannel, endpoint: Endpoint
) -> None:
    with pytest.raises(DeviceGone):
        channel.send(device("webhook", url.format(port=endpoint.port)), NOTICE)
    assert not endpoint.received


def test_a_name_of_this_machine_is_gone() -> None:
    with make_session() as session, pytest.raises(DeviceGone, match="not public"):
        WebhookChannel(session, SECRET).send(device("webhook", "https://localhost/"), NOTICE)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_a", "whsec_ä"])
def test_a_wrong_secret_is_reported_at_the_start(secret: str, session: requests.Session) -> None:
    with pytest.raises(ValueError, match=r"^the webhook secret is invalid$"):
        WebhookChannel(session, secret)


@pytest.mark.parametrize("status", [302, 410, 500])
def test_a_failure_reveals_nothing_private(
    status: int, channel: WebhookChannel, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.status, endpoint.headers = status, {"Location": "/top-secret"}
    target = device("webhook", endpoint.url("/top-secret"))
    with caplog.at_level(logging.DEBUG), pytest.raises((DeviceGone, TryLater)) as caught:
        channel.send(target, NOTICE)
    assert is_discreet(printed(caught.value) + caplog.text, "localhost", "top-secret", SECRET)


def test_an_unreachable_service_reveals_nothing_private(
    channel: WebhookChannel, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    url = endpoint.url("/top-secret")
    endpoint.stop()
    with caplog.at_level(logging.DEBUG), pytest.raises(TryLater) as caught:
        channel.send(device("webhook", url), NOTICE)
    assert is_discreet(printed(caught.value) + caplog.text, "localhost", "top-secret", SECRET)
