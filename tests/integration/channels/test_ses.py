"""E-mails go to one address, and only a wrong address costs a device."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends

from functions.channels.ses import SesChannel
from functions.errors import ChannelMisconfigured, DeviceGone, NoticeRefused, TryLater
from tests.integration.channels.secrecy import NOTICE, device, is_discreet, printed

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

SENDER = "BB-Gram <chat@example.com>"
BEA = device("email", "bea.b+chat@example.org")


@pytest.fixture
def client(account: None) -> "SESV2Client":
    client = boto3.client("sesv2", config=Config(retries={"mode": "standard", "total_max_attempts": 1}))
    client.create_email_identity(EmailIdentity="example.com")
    return client


@pytest.fixture
def channel(client: "SESV2Client") -> SesChannel:
    return SesChannel(client, SENDER)


def sent() -> list[Any]:
    return list(ses_backends[DEFAULT_ACCOUNT_ID]["eu-central-1"].sent_messages)


def test_a_notice_is_sent_as_a_plain_mail(channel: SesChannel) -> None:
    channel.send(BEA, NOTICE)
    (mail,) = sent()
    assert mail.source == SENDER
    assert mail.destinations == {"ToAddresses": [BEA.address]}
    assert mail.subject == "Title of BB-Gram"
    assert mail.body == "the secret words"


def test_a_title_cannot_add_a_header(channel: SesChannel) -> None:
    channel.send(BEA, replace(NOTICE, title="Hello\r\nBcc: eve@example.org\x00\u2028\tyou"))
    assert sent()[0].subject == "Hello Bcc: eve@example.org you"


def test_a_title_keeps_the_joiners_of_a_name(channel: SesChannel) -> None:
    title = "\u0dc1\u0dca\u200d\u0dbb\u0dd3, \u0639\u0644\u06cc\u200c\u0631\u0636\u0627"
    channel.send(BEA, replace(NOTICE, title=title))
    assert sent()[0].subject == title


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bea",
        "bea@",
        "@example.org",
        "bea@example.org, eve@example.org",
        "bea@example.org,eve@example.org",
        "Bea <bea@example.org>",
        "bea@example.org\r\nBcc: eve@example.org",
        "bea@b@example.org",
        "bea@example..org",
        "bea@bücher.example",
    ],
)
def test_anything_but_one_address_is_gone(address: str, channel: SesChannel) -> None:
    with pytest.raises(DeviceGone, match=r"^email: not an e-mail address$"):
        channel.send(device("email", address), NOTICE)
    assert not sent()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("BadRequestException", "Illegal address"),
        ("BadRequestException", "Missing final '@domain'"),
        ("BadRequestException", "Domain contains illegal character"),
        ("BadRequestException", "Domain starts with dot"),
        ("MessageRejected", "Local address contains control or whitespace"),
    ],
)
def test_an_address_that_ses_calls_wrong_is_gone(
    code: str, reason: str, client: "SESV2Client", channel: SesChannel
) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("send_email", code, reason)
        with pytest.raises(DeviceGone, match=f"^email: {code}$"):
            channel.send(BEA, NOTICE)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("TooManyRequestsException", "Maximum sending rate exceeded."),
        ("LimitExceededException", ""),
        ("InternalFailure", ""),
        ("ExpiredTokenException", ""),
    ],
)
def test_a_failure_that_may_pass_is_tried_again(
    code: str, reason: str, client: "SESV2Client", channel: SesChannel
) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("send_email", code, reason)
        with pytest.raises(TryLater, match=f"^email: {code}$"):
            channel.send(BEA, NOTICE)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("MessageRejected", "Email address is not verified."),
        ("NotFoundException", "Configuration set does not exist."),
        ("AccountSuspendedException", ""),
        ("SendingPausedException", ""),
        ("MailFromDomainNotVerifiedException", ""),
        ("AccessDeniedException", ""),
    ],
)
def test_a_sender_or_account_that_ses_does_not_accept_is_our_mistake(
    code: str, reason: str, client: "SESV2Client", channel: SesChannel
) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("send_email", code, reason)
        with pytest.raises(ChannelMisconfigured, match=f"^email: {code}$"):
            channel.send(BEA, NOTICE)


@pytest.mark.parametrize("code", ["BadRequestException", "MessageRejected"])
def test_a_mail_that_ses_does_not_accept_is_not_tried_again(
    code: str, client: "SESV2Client", channel: SesChannel
) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("send_email", code, "1 validation error detected")
        with pytest.raises(NoticeRefused, match=f"^email: {code}$") as caught:
            channel.send(BEA, NOTICE)
    assert not isinstance(caught.value, ChannelMisconfigured)


def test_an_unverified_sender_removes_no_device(client: "SESV2Client") -> None:
    with pytest.raises(ChannelMisconfigured, match=r"^email: MessageRejected$"):
        SesChannel(client, "chat@elsewhere.example").send(BEA, NOTICE)


def test_an_ses_that_does_not_answer_is_tried_again(client: "SESV2Client", channel: SesChannel) -> None:
    def time_out(**_: Any) -> None:
        raise ConnectTimeoutError(endpoint_url="https://email.example")

    client.meta.events.register_first("before-send.sesv2.SendEmail", time_out)
    with pytest.raises(TryLater, match=r"^email: ConnectTimeoutError$"):
        channel.send(BEA, NOTICE)


@pytest.mark.parametrize("sender", ["", "nobody", "chat@example.com\nBcc: eve@example.org"])
def test_a_sender_that_is_not_an_address_is_reported_at_the_start(sender: str, client: "SESV2Client") -> None:
    with pytest.raises(ValueError, match="sender"):
        SesChannel(client, sender)


@pytest.mark.parametrize("code", ["MessageRejected", "BadRequestException"])
@pytest.mark.parametrize("reason", ["Illegal address", "Other"])
def test_a_failure_reveals_nothing_private(
    code: str,
    reason: str,
    client: "SESV2Client",
    channel: SesChannel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Stubber(client) as stub, caplog.at_level(logging.INFO):
        stub.add_client_error("send_email", code, f"{reason} {BEA.address} {NOTICE.body}")
        with pytest.raises((DeviceGone, NoticeRefused)) as caught:
            channel.send(BEA, NOTICE)
    assert is_discreet(printed(caught.value) + caplog.text, BEA.address)
