"""Sends push notifications to Android and Apple devices through Amazon SNS.

Follows "Create a platform endpoint and manage device tokens" in the SNS developer guide.
"""

import re
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from botocore.exceptions import BotoCoreError, ClientError

from functions.channels.channel import Device, Notice
from functions.channels.payload import compact_json, encode_within
from functions.channels.phones import Platform, apns_payload, fcm_message
from functions.errors import ChannelMisconfigured, DeviceGone, NoticeRefused, TryLater

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

_SAME_TOKEN = re.compile(r"Endpoint (arn:\S+) already exists with the same Token")
_MISCONFIGURED = frozenset(
    {
        "AccessDenied",
        "AuthorizationError",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "NotFound",
        "PlatformApplicationDisabled",
        "SignatureDoesNotMatch",
        "UnrecognizedClient",
    }
)
"""Our settings or credentials. An endpoint that is not found is told apart before."""
_REFUSALS = frozenset({"InvalidParameter", "ParameterValueInvalid", "ValidationError"})
_APNS_ATTRIBUTE = "AWS.SNS.MOBILE.APNS."


class _EndpointMissing(Exception):
    """The endpoint no longer exists."""


class SnsChannel:
    """Publishes to the endpoint of a device, which it creates if the device has none."""

    replaces: ClassVar = True

    def __init__(self, client: "SNSClient", application_arn: str, platform: Platform) -> None:
        self._client = client
        self._application_arn = application_arn
        self._platform = platform
        self._is_sandbox = "APNS_SANDBOX" in application_arn

    def send(self, device: Device, notice: Notice) -> str:
        """Publish a notice and return the ARN of the endpoint.

        Raises DeviceGone, NoticeRefused, ChannelMisconfigured and TryLater.
        """
        try:
            return self._send(device, notice)
        except ClientError as error:
            raise self._translate(error) from None
        except BotoCoreError as error:
            raise TryLater(f"{self._platform}: {type(error).__name__}") from None

    def _send(self, device: Device, notice: Notice) -> str:
        if device.endpoint is not None:
            with suppress(_EndpointMissing):
                return self._publish_to_known(device.endpoint, notice)
        arn = self._register(device.address)
        try:
            self._publish(arn, notice)
        except _EndpointMissing:
            raise TryLater(f"{self._platform}: the endpoint vanished") from None
        return arn

    def _publish_to_known(self, arn: str, notice: Notice) -> str:
        """Publish to an existing endpoint. If SNS has disabled it in the meantime, its token is dead."""
        try:
            self._publish(arn, notice)
        except ClientError as error:
            if _code(error) != "EndpointDisabled":
                raise
            with suppress(ClientError, BotoCoreError):
                self._client.delete_endpoint(EndpointArn=arn)
            raise self._gone(error) from None
        return arn

    def _register(self, token: str) -> str:
        """Return an endpoint that is enabled for the token, and create it if necessary."""
        arn = self._create(token)
        try:
            attributes = self._client.get_endpoint_attributes(EndpointArn=arn)["Attributes"]
        except ClientError as error:
            if _code(error) != "NotFound":
                raise
            return self._create(token)
        if attributes.get("Token") != token or attributes.get("Enabled", "").lower() != "true":
            self._client.set_endpoint_attributes(
                EndpointArn=arn, Attributes={"Token": token, "Enabled": "true"}
            )
        return arn

    def _create(self, token: str) -> str:
        try:
            answer = self._client.create_platform_endpoint(
                PlatformApplicationArn=self._application_arn, Token=token
            )
        except ClientError as error:
            existing = _SAME_TOKEN.search(_message(error))
            if existing is None:
                raise
            return existing[1]
        return answer["EndpointArn"]

    def _publish(self, arn: str, notice: Notice) -> None:
        encode = _encode_fcm if self._platform == "fcm" else apns_payload
        key = "GCM" if self._platform == "fcm" else "APNS_SANDBOX" if self._is_sandbox else "APNS"
        try:
            self._client.publish(
                TargetArn=arn,
                MessageStructure="json",
                Message=compact_json({"default": notice.title, key: encode_within(notice, encode)}),
                MessageAttributes=self._attributes(notice),
            )
        except ClientError as error:
            if _is_missing(error):
                raise _EndpointMissing from None
            raise

    def _attributes(self, notice: Notice) -> "dict[str, MessageAttributeValueTypeDef]":
        if self._platform == "fcm":
            return {}
        return {
            f"{_APNS_ATTRIBUTE}PUSH_TYPE": {"DataType": "String", "StringValue": "alert"},
            f"{_APNS_ATTRIBUTE}COLLAPSE_ID": {"DataType": "String", "StringValue": str(notice.id)},
        }

    def _translate(self, error: ClientError) -> DeviceGone | NoticeRefused | TryLater:
        if _is_wrong_token(error):
            return self._gone(error)
        reason = f"{self._platform}: {_code(error)}"
        if _code(error) in _MISCONFIGURED or "ApplicationArn Reason" in _message(error):
            return ChannelMisconfigured(reason)
        return (NoticeRefused if _code(error) in _REFUSALS else TryLater)(reason)

    def _gone(self, error: ClientError) -> DeviceGone:
        return DeviceGone(f"{self._platform}: {_code(error)}")


def _encode_fcm(notice: Notice) -> str:
    return compact_json({"fcmV1Message": {"message": fcm_message(notice)}})


def _code(error: ClientError) -> str:
    return error.response["Error"].get("Code", "unknown").removesuffix("Exception")


def _message(error: ClientError) -> str:
    return error.response["Error"].get("Message", "")


def _is_missing(error: ClientError) -> bool:
    """Return whether there is no such endpoint, which SNS reports in several ways."""
    return _code(error) == "NotFound" or (
        _code(error) == "InvalidParameter" and "TargetArn Reason" in _message(error)
    )


def _is_wrong_token(error: ClientError) -> bool:
    message = _message(error)
    return (
        _code(error) == "InvalidParameter"
        and "Token Reason" in message
        and _SAME_TOKEN.search(message) is None
    )
