"""The queue of notifications on AWS: Amazon SQS."""

import json
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING, Final
from uuid import UUID

import boto3
from botocore.config import Config

from functions.backoff import backoff_s
from functions.errors import QueueRefused, TryLater, UnreadableBody
from infra.settings.base import SettingsError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

_BATCH_SIZE: Final = 10
"""The most messages that SQS accepts in one call."""
_POSTPONE_MAX_S: Final = 12 * 3_600 - 900
"""SQS hides a message for up to 12 hours after its receipt. A Lambda may have held it for 15 minutes."""


class SqsQueue:
    """A `NotificationQueue` whose messages have the body `{"notificationId": "<uuid>"}`."""

    def __init__(self, url: str | None) -> None:
        self._url = url

    def put(self, notification_ids: Collection[UUID]) -> None:
        """Send a message for each id. Raises QueueRefused, SettingsError and what boto3 raises."""
        url, ids = self.url, list(notification_ids)
        for start in range(0, len(ids), _BATCH_SIZE):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "MessageBody": json.dumps({"notificationId": str(notification_id)})}
                for number, notification_id in enumerate(ids[start : start + _BATCH_SIZE])
            ]
            failed = self._client.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")
            if failed:
                codes = ", ".join(sorted({entry["Code"] for entry in failed}))
                raise QueueRefused(f"SQS refused {len(failed)} notifications: {codes}")

    def postpone(self, receipt_handle: str, after_s: float) -> None:
        """Hide a received message for `after_s`, at most 11 h 45 min. Raises what boto3 raises."""
        self._client.change_message_visibility(
            QueueUrl=self.url,
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=int(min(after_s, _POSTPONE_MAX_S)),
        )

    @property
    def url(self) -> str:
        """The address of the queue. Raises SettingsError if it is not set."""
        if self._url is None:
            raise SettingsError("BBGRAM_PUSH_QUEUE_URL is not set; this function needs it.")
        return self._url

    @cached_property
    def _client(self) -> "SQSClient":
        return boto3.client("sqs", config=Config(connect_timeout=3, read_timeout=10, tcp_keepalive=True))


def parse_body(body: str) -> UUID:
    """Return the id of the notification in a message. Raises UnreadableBody, without quoting the body."""
    try:
        return UUID(json.loads(body)["notificationId"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UnreadableBody("not the body of a notification") from None


def retry_delay_s(attempt: int, error: Exception) -> float:
    """Return how long to wait after an attempt that failed with `error`.

    An unreadable message does not wait: it should become a dead letter soon.
    """
    if isinstance(error, UnreadableBody):
        return 0.0
    asked_s = error.after_s if isinstance(error, TryLater) else None
    return backoff_s(attempt, [asked_s] if asked_s is not None else [])
