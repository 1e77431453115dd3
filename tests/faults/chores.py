"""Work for the functions, seeded and checked afterwards: absent users and expired rows."""

import asyncio
import gzip
import json
import uuid
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from celery import Celery
from moto import mock_aws

from functions.archive.archiver import archive
from functions.archive.bucket import make_client
from functions.context import Context
from functions.pacer import Pacer
from infra.settings.functions import FunctionSettings
from infra.wire import names
from tests.faults.clients import FaultClient
from tests.faults.field import Field
from tests.harness.deployment import user_id_of
from tests.harness.waiting import until

_ROWS: Final = 10
"""How many expired rows of each kind there are, and messages in the old chat."""
_BUCKET: Final = "old-messages"
_OLD_CHAT: Final = ("old0", "old1")

_SEED: Final = {
    "devices": "INSERT INTO devices (id, user_id, channel, address, registered_at)"
    " VALUES (:id, :user, 'webhook', 'https://example.com', now() - interval '200 days')",
    "dead_letters": "INSERT INTO dead_letters VALUES"
    " (:id, 'send_message', :user, '{}', 'broken', now() - interval '200 days')",
    "notifications": "INSERT INTO notifications"
    " (id, user_id, chat_ids, first_seqs, last_seqs, created_at, finished_at)"
    " VALUES (:id, :user, '{}', '{}', '{}', now() - interval '200 days', now())",
    "reports": "INSERT INTO reports"
    " (id, reporter_id, reported_id, chat_id, seq, reason, messages, created_at)"
    " VALUES (:id, :user, :user, :id, 1, 'spam', '[]', now() - interval '200 days')",
}
_OLD: Final = {
    "devices": "SELECT FROM devices WHERE registered_at < now() - interval '180 days'",
    "dead_letters": "SELECT FROM dead_letters WHERE created_at < now() - interval '30 days'",
    "notifications": "SELECT FROM notifications WHERE created_at < now() - interval '15 days'",
    "reports": "SELECT FROM reports WHERE created_at < now() - interval '180 days'",
}
_SWEPT: Final = """
SELECT FROM undelivered JOIN profiles ON profiles.id = undelivered.user_id WHERE username = ANY(:names)
"""


async def _run_twice(field: Field, function: str) -> Counter[str]:
    """Let two workers run a function at once; return the sum of their counts."""
    before = len(_logged(field, "function_finished", function=function))
    with Celery(broker=field.chat.store.redis_url) as app:
        for _ in range(2):
            app.send_task(names.FUNCTION_TASK, args=[function], queue=names.FUNCTIONS_QUEUE)

    def both() -> list[dict[str, Any]]:
        done = _logged(field, "function_finished", function=function)[before:]
        return done if len(done) >= 2 else []

    done = await until(both, f"both runs of {function} are finished")
    return Counter(
        {kind: sum(one[kind] for one in done) for kind, count in done[0].items() if type(count) is int}
    )


def _logged(field: Field, event: str, **fields: object) -> list[dict[str, Any]]:
    """Return the log events of this name from the functions' workers, in order."""
    lines = [line for part in field.chat.functions for line in part.log.splitlines()]
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    found = [one for one in logged if one.items() >= {"event": event, **fields}.items()]
    return sorted(found, key=lambda one: str(one["timestamp"]))


async def clean_up_twice(field: Field) -> None:
    """Let cleanup remove the old rows of each kind and no young ones."""
    for statement in _SEED.values():
        for client in field.clients[:_ROWS]:
            field.chat.rows(statement, id=str(uuid.uuid4()), user=client.user_id)
    young = _count(field, "SELECT FROM devices") - _ROWS
    removed = await _run_twice(field, "cleanup")
    for kind, old in _OLD.items():
        field.expect(removed[kind] == _ROWS, f"cleanup removed {removed[kind]} of {_ROWS} {kind}")
        field.expect(_count(field, old) == 0, f"cleanup left old {kind}")
    field.expect(_count(field, "SELECT FROM devices") >= young, "cleanup removed young devices")
    field.notes.append(f"{sum(removed[kind] for kind in _OLD)} old rows removed")


async def notify_twice(field: Field) -> None:
    """Notify absent users, each once, and then let them come back."""
    away = field.add(*(f"away{number}" for number in range(_ROWS)))
    for client in away:
        field.chat.rows(
            "INSERT INTO devices (id, user_id, channel, address) VALUES (:id, :user, 'log', 'phone')",
            id=str(uuid.uuid4()),
            user=client.user_id,
        )
    senders = field.clients[: len(away)]
    await asyncio.gather(
        *(
            sender.send(one, f"{one.username}, message {number}")
            for sender, one in zip(senders, away, strict=True)
            for number in range(3)
        )
    )
    usernames = [one.username for one in away]
    await until(lambda: _count(field, _SWEPT, names=usernames) >= len(away), "the sweep has found them all")
    await _run_twice(field, "offline_delivery")
    await _run_twice(field, "push")
    unfinished = "SELECT FROM notifications WHERE finished_at IS NULL"
    await until(lambda: not _count(field, unfinished), "every notification is finished")
    _look_at_notifications(field, away)
    await asyncio.gather(*(client.start() for client in away))


def _look_at_notifications(field: Field, away: Collection[FaultClient]) -> None:
    made = field.chat.rows("SELECT user_id::text, first_seqs, last_seqs, outcome FROM notifications")
    wanted = sorted((client.user_id, [1], [3], "sent") for client in away)
    field.expect(sorted(map(tuple, made)) == wanted, f"not one notification for each of the away: {made}")
    sent = len(_logged(field, "notification"))
    field.expect(sent == len(away), f"{sent} notifications were sent, not {len(away)}")
    field.notes.append(f"{len(away)} people were away, {sent} notifications sent")


async def archive_twice(field: Field) -> None:
    """Archive an old chat: each of its messages once, and nothing else."""
    _seed_old_chat(field)
    young = _count(field, "SELECT FROM messages") - _ROWS
    lines = await asyncio.to_thread(_archive_twice, field.chat.store.database_url)
    field.expect(len(lines) == len(set(lines)) == _ROWS, f"{len(lines)} messages are in the archive")
    field.expect(_count(field, "SELECT FROM archived_chats") == 1, "not just the old chat was archived")
    field.expect(_count(field, "SELECT FROM messages") >= young, "young messages are gone")
    old = "SELECT FROM messages WHERE created_at < now() - interval '90 days'"
    field.expect(_count(field, old) == 0, "old messages were left")
    field.notes.append(f"{len(lines)} messages archived")
    field.chat.rows("DELETE FROM chats WHERE user_lo = :lo AND user_hi = :hi", **_old_pair())


def _old_pair() -> dict[str, str]:
    return dict(zip(("lo", "hi"), sorted(map(user_id_of, _OLD_CHAT)), strict=True))


def _seed_old_chat(field: Field) -> None:
    field.add_profiles(*_OLD_CHAT)
    chat = {"chat": str(uuid.uuid4()), **_old_pair(), "last": _ROWS}
    for statement in (
        "INSERT INTO chats (id, user_lo, user_hi, last_seq, swept_seq)"
        " VALUES (:chat, :lo, :hi, :last, :last)",
        "INSERT INTO chat_members (chat_id, user_id, delivered_seq)"
        " VALUES (:chat, :lo, :last), (:chat, :hi, :last)",
        "INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)"
        " SELECT :chat, seq, gen_random_uuid(), :lo, :hi, 'old', now() - interval '100 days'"
        " FROM generate_series(1, :last) AS seq",
    ):
        field.chat.rows(statement, **chat)


def _archive_twice(database_url: str) -> list[bytes]:
    """Run the archive twice at once against a mocked S3; return the lines of all objects."""
    with mock_aws():
        s3 = make_client()
        s3.create_bucket(Bucket=_BUCKET)
        given: dict[str, Any] = {"database_url": database_url, "archive_bucket": _BUCKET}
        settings = FunctionSettings(**given)
        with ThreadPoolExecutor(2) as pool:
            for run in [pool.submit(_archive, settings) for _ in range(2)]:
                run.result()
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=_BUCKET).get("Contents", [])]
        bodies = [
            s3.get_object(Bucket=_BUCKET, Key=key)["Body"].read() for key in keys if key.endswith(".gz")
        ]
    return [line for body in bodies for line in gzip.decompress(body).splitlines()]


def _archive(settings: FunctionSettings) -> None:
    context = Context.make(settings, _NoQueue())
    try:
        archive(context, Pacer(60), False)
    finally:
        context.engine.dispose()


class _NoQueue:
    def put(self, notification_ids: Collection[Any]) -> None:
        raise AssertionError("the archive notifies nobody")


def _count(field: Field, select: str, **params: object) -> int:
    return len(field.chat.rows(select, **params))
