"""Batches of notifications, handled as Lambda does it: receive, call the handler, delete what it handled."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest
from sqlalchemy.exc import OperationalError

from functions.aws import handlers
from functions.aws.sqs import SqsQueue
from functions.context import Context
from functions.errors import TriesExhausted, TryLater
from infra.settings.base import PREFIX
from tests.harness.engines import Store
from tests.integration.aws.conftest import LambdaContext, Output

TRIES = 5


class Source:
    """An SQS queue with a dead-letter queue, and the event source mapping that calls the handler."""

    def __init__(self) -> None:
        self.client = boto3.client("sqs")
        self.dead_url = self.client.create_queue(QueueName="dead")["QueueUrl"]
        attributes = self.client.get_queue_attributes(QueueUrl=self.dead_url, AttributeNames=["QueueArn"])
        redrive = {"deadLetterTargetArn": attributes["Attributes"]["QueueArn"], "maxReceiveCount": TRIES}
        self.url = self.client.create_queue(
            QueueName="notifications",
            Attributes={"VisibilityTimeout": "0", "RedrivePolicy": json.dumps(redrive)},
        )["QueueUrl"]

    def poll(self) -> tuple[int, list[str]]:
        """Pass a batch to the handler. Return its size, and the bodies that failed and stay on the queue."""
        messages = self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        ).get("Messages", [])
        if not messages:
            return 0, []
        answer = handlers.push({"Records": [as_record(message) for message in messages]}, LambdaContext())
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] not in failed:
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return len(messages), [message["Body"] for message in messages if message["MessageId"] in failed]

    def dead(self) -> list[str]:
        """Return the bodies of the dead letters."""
        messages = self.client.receive_message(QueueUrl=self.dead_url, MaxNumberOfMessages=10)
        return [message["Body"] for message in messages.get("Messages", [])]


def as_record(message: Any) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:notifications",
        "awsRegion": "eu-central-1",
    }


class Deliveries:
    """Stands in for `Push`: records what was delivered, and fails as it is told to."""

    def __init__(self) -> None:
        self.done: list[UUID] = []
        self.errors: dict[UUID, Exception] = {}

    def __call__(self, context: Context) -> "Deliveries":
        return self

    def deliver(self, notification_id: UUID) -> str:
        if notification_id in self.errors:
            raise self.errors[notification_id]
        self.done.append(notification_id)
        return "sent"


@pytest.fixture
def deliveries(monkeypatch: pytest.MonkeyPatch) -> Deliveries:
    deliveries = Deliveries()
    monkeypatch.setattr(handlers, "Push", deliveries)
    return deliveries


@pytest.fixture
def source(account: None, output: Output, bench_store: Store, monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Source()
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", bench_store.database_url)
    monkeypatch.setenv(f"{PREFIX}PUSH_QUEUE_URL", source.url)
    return source


@pytest.fixture
def put(source: Source) -> Callable[[int], list[UUID]]:
    """Return a function that queues notifications."""

    def put(count: int) -> list[UUID]:
        ids = [uuid4() for _ in range(count)]
        SqsQueue(source.url).put(ids)
        return ids

    return put


def test_a_whole_batch_is_delivered(
    source: Source, put: Callable[[int], list[UUID]], deliveries: Deliveries, output: Output
) -> None:
    ids = put(10)
    assert source.poll() == (10, [])
    assert sorted(deliveries.done) == sorted(ids)
    assert output.metric("sent") == 10
    assert source.poll() == (0, [])


def test_one_record_of_ten_fails_and_only_that_one_stays(
    source: Source, put: Callable[[int], list[UUID]], deliveries: Deliveries, output: Output
) -> None:
    ids = put(10)
    deliveries.errors[ids[3]] = TryLater("fcm: 503")

    size, failed = source.poll()

    assert size == 10
    assert failed == [json.dumps({"notificationId": str(ids[3])})]
    assert sorted(deliveries.done) == sorted({*ids} - {ids[3]})
    assert (output.metric("records"), output.metric("sent"), output.metric("later")) == (10, 9, 1)
    assert source.poll() == (0, []), "it is hidden until it is to be tried again"


def test_a_batch_in_which_nothing_succeeds_is_not_a_crash(
    source: Source, put: Callable[[int], list[UUID]], deliveries: Deliveries
) -> None:
    for notification_id in put(3):
        deliveries.errors[notification_id] = TriesExhausted("tried often enough")
    size, failed = source.poll()
    assert size == len(failed) == 3


def test_a_poison_record_ends_among_the_dead_letters(
    source: Source, deliveries: Deliveries, output: Output
) -> None:
    poison = '{"text": "a private word"}'
    source.client.send_message(QueueUrl=source.url, MessageBody=poison)

    for _ in range(TRIES):
        assert source.poll() == (1, [poison])

    assert source.poll() == (0, [])
    assert source.dead() == [poison]
    assert len(output.events("notification_kept")) == TRIES
    assert output.metric("unreadable") == TRIES
    assert "a private word" not in output.text


def test_a_notification_out_of_tries_ends_there_too(
    source: Source,
    put: Callable[[int], list[UUID]],
    deliveries: Deliveries,
    output: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (notification_id,) = put(1)
    deliveries.errors[notification_id] = TriesExhausted("tried often enough")
    monkeypatch.setattr("functions.backoff.FIRST_S", 0.0)
    for _ in range(TRIES):
        source.poll()
    assert source.poll() == (0, [])
    assert source.dead() == [json.dumps({"notificationId": str(notification_id)})]
    assert output.metric("failed") == TRIES


@pytest.mark.parametrize(
    ("attempt", "asked_s", "expected_s"),
    [
        (1, None, 30),
        (2, None, 60),
        (5, None, 480),
        (6, None, 900),
        (50, None, 900),
        (1, 5, 30),
        (1, 7_200, 7_200),
    ],
)
def test_the_wait_doubles_unless_the_other_side_asks_for_more(
    attempt: int,
    asked_s: float | None,
    expected_s: float,
    source: Source,
    put: Callable[[int], list[UUID]],
    deliveries: Deliveries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = []
    monkeypatch.setattr(SqsQueue, "postpone", lambda _, handle, after_s: waits.append((handle, after_s)))
    (notification_id,) = put(1)
    deliveries.errors[notification_id] = TryLater("fcm: 503", asked_s)
    message = {
        "MessageId": "m",
        "ReceiptHandle": "handle",
        "Body": json.dumps({"notificationId": str(notification_id)}),
        "MD5OfBody": "",
        "Attributes": {"ApproximateReceiveCount": str(attempt)},
    }

    answer = handlers.push({"Records": [as_record(message)]}, LambdaContext())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m"}]}
    assert waits == [("handle", expected_s)]


def test_a_notification_that_every_device_refuses_is_not_sent_back_to_the_queue(
    source: Source,
    put: Callable[[int], list[UUID]],
    deliveries: Deliveries,
    output: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries, "deliver", lambda _: "failed")
    put(2)
    assert source.poll() == (2, [])
    assert output.metric("failed") == 2
    assert source.dead() == []


def test_no_wait_is_longer_than_sqs_allows(
    source: Source, put: Callable[[int], list[UUID]], deliveries: Deliveries
) -> None:
    (notification_id,) = put(1)
    deliveries.errors[notification_id] = TryLater("fcm: 429", 48 * 3_600)
    assert source.poll()[0] == 1
    assert source.poll() == (0, [])


def test_an_unexpected_error_is_logged_and_tried_again(
    source: Source, put: Callable[[int], list[UUID]], deliveries: Deliveries, output: Output
) -> None:
    (notification_id,) = put(1)
    deliveries.errors[notification_id] = OperationalError(
        "SELECT 1", {}, Exception("server closed the connection")
    )
    before = handlers._context()

    assert source.poll()[0] == 1

    (event,) = output.events("notification_kept")
    assert (event["outcome"], event["attempt"]) == ("crashed", 1)
    assert event["exception_name"] == "OperationalError"
    assert handlers._context() is not before


def test_a_notification_that_is_gone_is_not_a_failure(
    source: Source, put: Callable[[int], list[UUID]], output: Output
) -> None:
    put(1)
    assert source.poll() == (1, [])
    assert output.metric("unknown") == 1
