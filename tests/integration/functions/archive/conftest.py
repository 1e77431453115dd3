"""Old messages, an S3 in this process (moto), and the functions that move messages between them."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from time import sleep
from typing import Any

import pytest

from functions.archive import archiver, message_file
from functions.archive.archiver import archive
from functions.archive.deletion import delete_messages
from functions.archive.restore import restore
from functions.context import Context, Summary
from functions.pacer import Pacer
from infra.wire.batch import Event
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.archive.state import (
    BUCKET,
    TEXTS,
    Archive,
    Crash,
    Restore,
    day,
    deliver,
)
from tests.integration.functions.conftest import ContextFactory

LONGEST_TEST_S = 20


@pytest.fixture(autouse=True)
def _one_day_for_the_whole_test() -> None:
    """Let no test run past midnight (UTC): what it calls 100 days ago must stay the same day."""
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), time(tzinfo=UTC))
    if (left_s := (midnight - now).total_seconds()) < LONGEST_TEST_S:
        sleep(left_s)


@pytest.fixture
def s3(s3: Any) -> Any:
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return s3


@pytest.fixture
def make_context(make_context: ContextFactory, s3: Any) -> ContextFactory:
    def make(**options: Any) -> Context:
        return make_context(**{"archive_bucket": BUCKET, **options})

    return make


@pytest.fixture
def run(make_context: ContextFactory) -> Archive:
    def run(*, dry_run: bool = False, **options: Any) -> Summary:
        return archive(make_context(**options), Pacer(600), dry_run)

    return run


@pytest.fixture
def bring_back(make_context: ContextFactory) -> Restore:
    def bring_back(first: int, last: int | None = None, *, dry_run: bool = False, **options: Any) -> Summary:
        days = day(first), day(first if last is None else last)
        return restore(make_context(**options), Pacer(600), *days, dry_run)

    return bring_back


@pytest.fixture
def make_chat(unswept_bench: WorkerBench) -> Callable[..., tuple[str, Any, Any]]:
    """Return a factory for chats with that many messages of that many days ago, oldest first."""

    def make(ages: dict[int, int], *, delivered: bool = True) -> tuple[str, Any, Any]:
        alice, bob = unswept_bench.people("alice", "bob")
        chat_id = ""
        for days_ago, count in ages.items():
            events = [
                speak(unswept_bench, *((alice, bob) if n % 3 else (bob, alice)), n) for n in range(count)
            ]
            chat_id = unswept_bench.ask(*events).ack(events[0])["message"]["chatId"]
            unswept_bench.rows(
                "UPDATE messages SET created_at = CAST(:at AS timestamptz) + seq * interval '1.000001 s' "
                "WHERE chat_id = :chat AND seq > (SELECT last_seq FROM chats WHERE id = :chat) - :count",
                at=f"{day(days_ago)} 12:00:00.000001+00",
                chat=chat_id,
                count=count,
            )
        if delivered:
            deliver(unswept_bench, chat_id)
        return chat_id, alice, bob

    return make


def speak(bench: WorkerBench, sender: Any, recipient: Any, number: int) -> Event:
    more: dict[str, Any] = {} if number % 2 else {"clientId": uuid.uuid4().hex}
    return bench.send(sender[0], recipient[1], f"{TEXTS[number % len(TEXTS)]} {number}", **more)


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that makes the next run die when it deletes the n-th batch."""

    def crash(at: int) -> None:
        calls = iter(range(1, at + 1))

        def delete(*arguments: Any) -> int:
            if next(calls, None) == at:
                monkeypatch.setattr(archiver, "delete_messages", delete_messages)
                raise Crash
            return delete_messages(*arguments)

        monkeypatch.setattr(archiver, "delete_messages", delete)
        monkeypatch.setattr(message_file, "BATCH_SIZE", 10)

    return crash
