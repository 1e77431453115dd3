"""The queue of notifications is an SQS queue."""

import json
from typing import Any
from uuid import uuid4

import boto3
import pytest

from functions.aws.sqs import SqsQueue, parse_body
from functions.errors import QueueRefused, UnreadableBody
from infra.settings.base import SettingsError


@pytest.fixture
def url(account: None) -> str:
    return boto3.client("sqs").create_queue(QueueName="notifications")["QueueUrl"]


def test_every_notification_is_put_in_batches_that_sqs_takes(url: str) -> None:
    ids = {uuid4() for _ in range(23)}

    SqsQueue(url).put(ids)

    client = boto3.client("sqs")
    found = set()
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found |= {parse_body(message["Body"]) for message in messages}
    assert found == ids


def test_nothing_is_sent_for_no_notifications() -> None:
    SqsQueue("not-even-an-address").put([])


def test_what_sqs_refuses_is_reported(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = SqsQueue(url)
    refused = [{"Id": "1", "Code": "InternalError", "SenderFault": False}]

    def refuse(**_: Any) -> dict[str, Any]:
        return {"Successful": [], "Failed": refused}

    monkeypatch.setattr(queue._client, "send_message_batch", refuse)
    with pytest.raises(QueueRefused, match="1 notifications: InternalError"):
        queue.put([uuid4()])


def test_a_queue_without_an_address_names_the_setting() -> None:
    with pytest.raises(SettingsError, match="BBGRAM_PUSH_QUEUE_URL"):
        SqsQueue(None).put([uuid4()])


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "7", "{}", '{"notificationId": 7}', '{"notificationId": "x"}']
)
def test_an_unreadable_body_is_reported_without_quoting_it(body: str) -> None:
    with pytest.raises(UnreadableBody) as caught:
        parse_body(body)
    assert caught.value.__suppress_context__


def test_a_body_may_have_more_fields() -> None:
    notification_id = uuid4()
    assert parse_body(json.dumps({"notificationId": str(notification_id), "v": 2})) == notification_id
