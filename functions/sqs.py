"""The queue of notifications on AWS: Amazon SQS."""

import json
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING, Final
from uuid import UUID

import boto3
from botocore.config import Config

from functions.channels.channel import TryLater
from infra.settings.base import SettingsError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

_BATCH: Final = 10
"""What SQS takes in one call."""
_LONGEST_S: Final = 12 * 3_600 - 900
"""SQS hides a message for 12 hours from its receipt at most; a Lambda may have had it for 15 minutes."""

_FIRST_RETRY_S: Final = 30.0
_LONGEST_RETRY_S: Final = 900.0


class NotQueued(Exception):
    """SQS has not taken some of the notifications."""


class Unreadable(Exception):
    """The body of a message is none of ours. Trying again will not help."""


class SqsQueue:
    """A `NotificationQueue` of the bodies `{"notificationId": "<uuid>"}`."""

    def __init__(self, url: str | None) -> None:
        self._url = url

    def put(self, notification_ids: Collection[UUID]) -> None:
        """Send them in batches. Raises NotQueued, SettingsError and what boto3 raises."""
        url, ids = self.url, list(notification_ids)
        for start in range(0, len(ids), _BATCH):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "MessageBody": json.dumps({"notificationId": str(notification_id)})}
                for number, notification_id in enumerate(ids[start : start + _BATCH])
            ]
            failed = self._client.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")
            if failed:
                codes = ", ".join(sorted({entry["Code"] for entry in failed}))
                raise NotQueued(f"SQS has refused {len(failed)} notifications: {codes}")

    def postpone(self, receipt_handle: str, after_s: float) -> None:
        """Hide a message that was received for `after_s` from now on; at most for 11 h 45 min."""
        self._client.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=receipt_handle, VisibilityTimeout=int(min(after_s, _LONGEST_S))
        )

    @property
    def url(self) -> str:
        """Address of the queue. Raises SettingsError if there is none."""
        if self._url is None:
            raise SettingsError("BBGRAM_PUSH_QUEUE_URL is not set; this function needs it.")
        return self._url

    @cached_property
    def _client(self) -> "SQSClient":
        return boto3.client("sqs", config=Config(connect_timeout=3, read_timeout=10))


def read_body(body: str) -> UUID:
    """Return the notification that a message is about. Raises Unreadable, which holds nothing of the body."""
    try:
        return UUID(json.loads(body)["notificationId"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Unreadable("not the body of a notification") from None


def delay_s(attempt: int, error: Exception) -> float:
    """Return how long to wait after a failure: twice as long each time, or as long as the provider has asked.

    With what nobody can read there is nothing to wait for: it is to be among the dead letters soon.
    """
    if isinstance(error, Unreadable):
        return 0.0
    asked_s = error.after_s if isinstance(error, TryLater) and error.after_s is not None else 0.0
    return max(min(_FIRST_RETRY_S * 2.0 ** (attempt - 1), _LONGEST_RETRY_S), asked_s)
