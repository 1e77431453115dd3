"""Push to Android and Apple devices: in moto, and in a stub where moto cannot fail as SNS does."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from functions.channels.sns import SnsChannel
from functions.errors import ChannelMisconfigured, DeviceGone, NoticeRefused, TryLater
from tests.integration.channels.secrecy import LONG_NOTICE, NOTICE, REPLACEMENT, device, is_discreet, printed

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

TOKEN = "token-of-a-telephone"
ARN = "arn:aws:sns:eu-central-1:123456789012:endpoint/GCM/chat/1"
PHONE = device("fcm", TOKEN)
KNOWN_PHONE = replace(PHONE, endpoint=ARN)


class Application:
    """A platform application in moto's SNS, and what was published to its endpoints."""

    def __init__(self, client: "SNSClient", platform: str) -> None:
        self.client = client
        self.published: list[dict[str, Any]] = []
        self.arn = client.create_platform_application(
            Name="chat", Platform=platform, Attributes={"PlatformCredential": "x"}
        )["PlatformApplicationArn"]
        client.meta.events.register("provide-client-params.sns.Publish", self._keep)

    def _keep(self, params: dict[str, Any], **_: Any) -> None:
        self.published.append(params)

    def endpoints(self) -> list[str]:
        found = self.client.list_endpoints_by_platform_application(PlatformApplicationArn=self.arn)
        return [endpoint["EndpointArn"] for endpoint in found["Endpoints"]]

    def received(self, arn: str) -> list[Any]:
        """Return what moto has sent on to an endpoint."""
        backend = sns_backends[DEFAULT_ACCOUNT_ID]["eu-central-1"]
        return [json.loads(message) for message in backend.platform_endpoints[arn].messages.values()]

    def disable(self, arn: str) -> None:
        self.client.set_endpoint_attributes(EndpointArn=arn, Attributes={"Enabled": "false"})

    def attributes(self, arn: str) -> dict[str, str]:
        return self.client.get_endpoint_attributes(EndpointArn=arn)["Attributes"]


@pytest.fixture
def client(account: None) -> "SNSClient":
    return boto3.client("sns", config=Config(retries={"mode": "standard", "total_max_attempts": 1}))


@pytest.fixture
def android(client: "SNSClient") -> Application:
    return Application(client, "GCM")


@pytest.fixture
def channel(android: Application) -> SnsChannel:
    return SnsChannel(android.client, android.arn, "fcm")


@pytest.fixture
def stub(client: "SNSClient") -> Iterator[Stubber]:
    """Answer in place of SNS, what moto cannot say."""
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def stubbed(client: "SNSClient") -> SnsChannel:
    return SnsChannel(client, "arn:aws:sns:eu-central-1:123456789012:app/GCM/chat", "fcm")


def test_the_first_push_makes_an_endpoint_and_returns_it(channel: SnsChannel, android: Application) -> None:
    arn = channel.send(PHONE, NOTICE)
    assert android.endpoints() == [arn]
    assert android.attributes(arn)["Token"] == TOKEN
    assert len(android.received(arn)) == 1


def test_the_next_push_goes_to_the_same_endpoint(channel: SnsChannel, android: Application) -> None:
    arn = channel.send(PHONE, NOTICE)
    assert channel.send(replace(PHONE, endpoint=arn), NOTICE) == arn
    assert android.endpoints() == [arn]
    assert len(android.received(arn)) == 2


def test_an_android_device_gets_the_form_of_fcm_v1(channel: SnsChannel, android: Application) -> None:
    arn = channel.send(PHONE, NOTICE)
    (received,) = android.received(arn)
    assert received.keys() == {"default", "GCM"}
    assert json.loads(received["GCM"]) == {
        "fcmV1Message": {
            "message": {
                "notification": {"title": "Title of BB-Gram", "body": "the secret words"},
                "data": {
                    "id": str(NOTICE.id),
                    "count": "3",
                    "unread": "7",
                    "chatIds": str(NOTICE.chat_ids[0]),
                },
                "android": {
                    "collapse_key": str(NOTICE.id),
                    "notification": {"tag": str(NOTICE.id)},
                },
            }
        }
    }


def test_a_replacement_takes_the_place_of_what_an_android_device_shows(
    channel: SnsChannel, android: Application
) -> None:
    channel.send(PHONE, NOTICE)
    arn = channel.send(PHONE, REPLACEMENT)
    sent = [json.loads(received["GCM"])["fcmV1Message"]["message"] for received in android.received(arn)]
    assert [message["notification"]["title"] for message in sent] == [NOTICE.title, REPLACEMENT.title]
    assert sent[0]["android"] == sent[1]["android"]


def test_a_replacement_takes_the_place_of_what_an_apple_device_shows_and_is_silent(
    client: "SNSClient",
) -> None:
    apple = Application(client, "APNS")
    channel = SnsChannel(client, apple.arn, "apns")
    channel.send(device("apns", TOKEN), NOTICE)
    arn = channel.send(device("apns", TOKEN), REPLACEMENT)
    assert apple.published[0]["MessageAttributes"] == apple.published[1]["MessageAttributes"]
    assert json.loads(apple.received(arn)[1]["APNS"])["aps"] == {
        "alert": {"title": REPLACEMENT.title, "body": ""},
        "badge": 0,
        "interruption-level": "passive",
        "thread-id": str(NOTICE.chat_ids[0]),
    }


@pytest.mark.parametrize("platform", ["APNS", "APNS_SANDBOX"])
def test_an_apple_device_gets_the_form_of_apple(platform: str, client: "SNSClient") -> None:
    apple = Application(client, platform)
    arn = SnsChannel(client, apple.arn, "apns").send(device("apns", TOKEN), NOTICE)
    (received,) = apple.received(arn)
    assert received.keys() == {"default", platform}
    assert json.loads(received[platform]) == {
        "aps": {
            "alert": {"title": "Title of BB-Gram", "body": "the secret words"},
            "badge": 7,
            "sound": "default",
            "thread-id": str(NOTICE.chat_ids[0]),
        },
        "id": str(NOTICE.id),
        "count": 3,
        "chatIds": [str(NOTICE.chat_ids[0])],
    }
    attributes = apple.published[0]["MessageAttributes"]
    assert {name: attribute["StringValue"] for name, attribute in attributes.items()} == {
        "AWS.SNS.MOBILE.APNS.PUSH_TYPE": "alert",
        "AWS.SNS.MOBILE.APNS.COLLAPSE_ID": str(NOTICE.id),
    }


def test_a_notice_about_several_chats_belongs_to_no_thread(client: "SNSClient") -> None:
    apple = Application(client, "APNS")
    several = replace(NOTICE, chat_ids=NOTICE.chat_ids * 2)
    arn = SnsChannel(client, apple.arn, "apns").send(device("apns", TOKEN), several)
    assert "thread-id" not in json.loads(apple.received(arn)[0]["APNS"])["aps"]


def test_a_long_text_is_cut_so_that_it_is_taken(channel: SnsChannel, android: Application) -> None:
    arn = channel.send(PHONE, LONG_NOTICE)
    payload = android.received(arn)[0]["GCM"]
    assert 2_000 < len(payload.encode()) < 4_000
    assert json.loads(payload)["fcmV1Message"]["message"]["notification"]["body"].endswith("…")


def test_a_device_whose_endpoint_sns_has_disabled_is_gone_and_its_endpoint_deleted(
    channel: SnsChannel, android: Application
) -> None:
    arn = channel.send(PHONE, NOTICE)
    android.disable(arn)
    with pytest.raises(DeviceGone, match=r"^fcm: EndpointDisabled$"):
        channel.send(replace(PHONE, endpoint=arn), NOTICE)
    assert android.endpoints() == []


def test_a_disabled_endpoint_is_enabled_when_its_device_was_registered_again(
    channel: SnsChannel, android: Application
) -> None:
    arn = channel.send(PHONE, NOTICE)
    android.disable(arn)
    assert channel.send(PHONE, NOTICE) == arn
    assert android.attributes(arn)["Enabled"] == "true"
    assert len(android.received(arn)) == 2


def test_an_endpoint_of_somebody_else_who_had_the_same_token_is_used(
    channel: SnsChannel, android: Application
) -> None:
    arn = android.client.create_platform_endpoint(
        PlatformApplicationArn=android.arn, Token=TOKEN, CustomUserData="another"
    )["EndpointArn"]
    assert channel.send(PHONE, NOTICE) == arn
    assert android.endpoints() == [arn]


def test_an_endpoint_that_was_deleted_is_made_again(channel: SnsChannel, android: Application) -> None:
    arn = channel.send(PHONE, NOTICE)
    android.client.delete_endpoint(EndpointArn=arn)
    again = channel.send(replace(PHONE, endpoint=arn), NOTICE)
    assert again != arn
    assert android.endpoints() == [again]


def test_an_endpoint_that_was_deleted_is_made_again_in_the_words_of_the_real_sns(
    stub: Stubber, stubbed: SnsChannel
) -> None:
    reason = "Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified"
    stub.add_client_error("publish", "InvalidParameter", reason)
    stub.add_response("create_platform_endpoint", {"EndpointArn": f"{ARN}2"})
    stub.add_response("get_endpoint_attributes", {"Attributes": {"Token": TOKEN, "Enabled": "true"}})
    stub.add_response("publish", {"MessageId": "1"})
    assert stubbed.send(KNOWN_PHONE, NOTICE) == f"{ARN}2"


def test_an_endpoint_that_is_deleted_meanwhile_is_made_again(stub: Stubber, stubbed: SnsChannel) -> None:
    stub.add_response("create_platform_endpoint", {"EndpointArn": ARN})
    stub.add_client_error("get_endpoint_attributes", "NotFound")
    stub.add_response("create_platform_endpoint", {"EndpointArn": f"{ARN}2"})
    stub.add_response("publish", {"MessageId": "1"})
    assert stubbed.send(PHONE, NOTICE) == f"{ARN}2"


def test_an_endpoint_whose_token_has_changed_gets_the_registered_one(
    stub: Stubber, stubbed: SnsChannel
) -> None:
    stub.add_response("create_platform_endpoint", {"EndpointArn": ARN})
    stub.add_response("get_endpoint_attributes", {"Attributes": {"Token": "old", "Enabled": "true"}})
    expected = {"EndpointArn": ARN, "Attributes": {"Token": TOKEN, "Enabled": "true"}}
    stub.add_response("set_endpoint_attributes", {}, expected)
    stub.add_response("publish", {"MessageId": "1"})
    assert stubbed.send(PHONE, NOTICE) == ARN


def test_an_endpoint_that_we_have_just_enabled_is_not_dead_yet(stub: Stubber, stubbed: SnsChannel) -> None:
    stub.add_response("create_platform_endpoint", {"EndpointArn": ARN})
    stub.add_response("get_endpoint_attributes", {"Attributes": {"Token": TOKEN, "Enabled": "false"}})
    stub.add_response("set_endpoint_attributes", {})
    stub.add_client_error("publish", "EndpointDisabled")
    with pytest.raises(TryLater, match=r"^fcm: EndpointDisabled$"):
        stubbed.send(PHONE, NOTICE)


def test_a_dead_endpoint_is_gone_even_where_it_cannot_be_deleted(stub: Stubber, stubbed: SnsChannel) -> None:
    stub.add_client_error("publish", "EndpointDisabled")
    stub.add_client_error("delete_endpoint", "AuthorizationError")
    with pytest.raises(DeviceGone):
        stubbed.send(KNOWN_PHONE, NOTICE)


def test_a_malformed_token_is_gone(stub: Stubber, stubbed: SnsChannel) -> None:
    reason = (
        "Invalid parameter: Token Reason: iOS device token must be no more than 400 hexadecimal characters"
    )
    stub.add_client_error("create_platform_endpoint", "InvalidParameter", reason)
    with pytest.raises(DeviceGone, match=r"^fcm: InvalidParameter$"):
        stubbed.send(PHONE, NOTICE)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("Throttled", ""),
        ("Throttling", "Rate exceeded"),
        ("InternalError", ""),
        ("ExpiredToken", ""),
    ],
)
def test_a_failure_of_sns_is_tried_again(code: str, reason: str, stub: Stubber, stubbed: SnsChannel) -> None:
    stub.add_client_error("create_platform_endpoint", code, reason)
    with pytest.raises(TryLater, match=f"^fcm: {code}$"):
        stubbed.send(PHONE, NOTICE)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AuthorizationError", "User is not authorized"),
        ("PlatformApplicationDisabled", ""),
        ("NotFound", "PlatformApplication does not exist"),
        ("InvalidParameter", "Invalid parameter: PlatformApplicationArn Reason: Wrong number of slashes"),
    ],
)
def test_an_application_or_login_that_sns_does_not_accept_is_our_mistake(
    code: str, reason: str, stub: Stubber, stubbed: SnsChannel
) -> None:
    stub.add_client_error("create_platform_endpoint", code, reason)
    with pytest.raises(ChannelMisconfigured, match=f"^fcm: {code}$"):
        stubbed.send(PHONE, NOTICE)


def test_a_notice_that_sns_does_not_accept_is_not_tried_again(stub: Stubber, stubbed: SnsChannel) -> None:
    stub.add_client_error("publish", "InvalidParameter", "Invalid parameter: Message too long")
    with pytest.raises(NoticeRefused, match=r"^fcm: InvalidParameter$") as caught:
        stubbed.send(KNOWN_PHONE, NOTICE)
    assert not isinstance(caught.value, ChannelMisconfigured)


def test_an_endpoint_that_is_nonsense_is_made_again(stub: Stubber, stubbed: SnsChannel) -> None:
    reason = "Invalid parameter: TargetArn Reason: An ARN must have at least 6 elements, not 1"
    stub.add_client_error("publish", "InvalidParameter", reason)
    stub.add_response("create_platform_endpoint", {"EndpointArn": ARN})
    stub.add_response("get_endpoint_attributes", {"Attributes": {"Token": TOKEN, "Enabled": "true"}})
    stub.add_response("publish", {"MessageId": "1"})
    assert stubbed.send(replace(PHONE, endpoint="nonsense"), NOTICE) == ARN


@pytest.mark.parametrize("code", ["Throttled", "InternalError"])
def test_a_push_that_fails_for_now_keeps_the_endpoint(code: str, stub: Stubber, stubbed: SnsChannel) -> None:
    stub.add_client_error("publish", code)
    with pytest.raises(TryLater, match=f"^fcm: {code}$"):
        stubbed.send(KNOWN_PHONE, NOTICE)


def test_an_endpoint_that_vanishes_at_once_is_tried_again(stub: Stubber, stubbed: SnsChannel) -> None:
    stub.add_response("create_platform_endpoint", {"EndpointArn": ARN})
    stub.add_response("get_endpoint_attributes", {"Attributes": {"Token": TOKEN, "Enabled": "true"}})
    stub.add_client_error("publish", "NotFound")
    with pytest.raises(TryLater, match=r"^fcm: the endpoint vanished$"):
        stubbed.send(PHONE, NOTICE)


def test_an_sns_that_does_not_answer_is_tried_again(channel: SnsChannel, android: Application) -> None:
    def time_out(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url="https://sns.example")

    arn = channel.send(PHONE, NOTICE)
    android.client.meta.events.register_first("before-send.sns.Publish", time_out)
    with pytest.raises(TryLater, match=r"^fcm: ReadTimeoutError$"):
        channel.send(replace(PHONE, endpoint=arn), NOTICE)


@pytest.mark.parametrize("code", ["Throttled", "EndpointDisabled", "InvalidParameter"])
def test_a_failure_reveals_nothing_private(
    code: str, client: "SNSClient", stubbed: SnsChannel, caplog: pytest.LogCaptureFixture
) -> None:
    reason = f"Invalid parameter: Token Reason: {TOKEN} of {ARN} {NOTICE.body}"
    with Stubber(client) as stub, caplog.at_level(logging.INFO):
        stub.add_client_error("publish", code, reason)
        stub.add_response("delete_endpoint", {})
        with pytest.raises((DeviceGone, NoticeRefused, TryLater)) as caught:
            stubbed.send(KNOWN_PHONE, NOTICE)
    assert is_discreet(printed(caught.value) + caplog.text, TOKEN, ARN)
