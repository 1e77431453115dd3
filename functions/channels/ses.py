"""Sends notices as plain-text e-mails through Amazon SES."""

import re
from email.utils import parseaddr
from typing import TYPE_CHECKING, ClassVar

from botocore.exceptions import BotoCoreError, ClientError

from functions.channels.channel import Device, Notice
from functions.errors import ChannelMisconfigured, DeviceGone, NoticeRefused, TryLater
from infra.store.joiners import JOINER, NON_JOINER

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

_ADDRESS = re.compile(r"[!-~]+@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.I)
_SPECIAL = frozenset('()<>[]:;,\\"')
_REJECTIONS = frozenset({"MessageRejected", "BadRequestException", "NotFoundException"})
_MISCONFIGURED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AccountSuspendedException",
        "InvalidClientTokenId",
        "MailFromDomainNotVerifiedException",
        "NotFoundException",
        "SendingPausedException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NOT_VERIFIED = re.compile(r"not verified", re.I)
_WRONG_ADDRESS = re.compile(
    r"illegal address|missing (final|domain)|(domain|local address) (name )?(contains|starts|ends)",
    re.I,
)
"""What SES says about a wrong recipient. It uses the same codes if our own address is not verified."""


class SesChannel:
    """Sends from `sender`, an address that SES has verified. Raises ValueError if it is not an address."""

    replaces: ClassVar = False

    def __init__(self, client: "SESV2Client", sender: str) -> None:
        if not _is_address(parseaddr(sender)[1]) or sender != _one_line(sender):
            raise ValueError("the sender is not an e-mail address")
        self._client = client
        self._sender = sender

    def send(self, device: Device, notice: Notice) -> None:
        """Send an e-mail. Raises DeviceGone, NoticeRefused, ChannelMisconfigured and TryLater."""
        if not _is_address(device.address):
            raise DeviceGone("email: not an e-mail address")
        try:
            self._client.send_email(
                FromEmailAddress=self._sender,
                Destination={"ToAddresses": [device.address]},
                Content={
                    "Simple": {
                        "Subject": {"Data": _one_line(notice.title), "Charset": "UTF-8"},
                        "Body": {"Text": {"Data": notice.body, "Charset": "UTF-8"}},
                    }
                },
            )
        except ClientError as error:
            raise _translate(error) from None
        except BotoCoreError as error:
            raise TryLater(f"email: {type(error).__name__}") from None


def _is_address(text: str) -> bool:
    """Return whether it is a single bare ASCII address. SES would accept lists and display names as well."""
    return _ADDRESS.fullmatch(text) is not None and text.count("@") == 1 and _SPECIAL.isdisjoint(text)


def _one_line(text: str) -> str:
    """Return the text without anything that could end a header. Joiners are part of a name."""
    kept = (JOINER, NON_JOINER)
    return " ".join("".join(char if char.isprintable() or char in kept else " " for char in text).split())


def _translate(error: ClientError) -> DeviceGone | NoticeRefused | TryLater:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code in _REJECTIONS and _WRONG_ADDRESS.search(message):
        return DeviceGone(f"email: {code}")
    if code in _MISCONFIGURED or (code in _REJECTIONS and _NOT_VERIFIED.search(message)):
        return ChannelMisconfigured(f"email: {code}")
    return (NoticeRefused if code in _REJECTIONS else TryLater)(f"email: {code}")
