"""Where messages are while the archive moves them, and assertions about it."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from functions.context import Summary
from tests.harness.worker_bench import WorkerBench

BUCKET = "old-messages"
TEXTS = ("Hello", "two\nlines\r\n", "🎉 Grüße 你好", "\"quotes\" 'and' \\backslash", "\u2028 \x01 \x7f", "{}")
NOTHING: Summary = {"messages": 0, "objects": 0, "bytes": 0, "days": 0, "recovered": 0}

Archive = Callable[..., Summary]
Restore = Callable[..., Summary]
Row = tuple[Any, ...]


class Crash(BaseException):
    """Stands for the death of the process."""


def day(days_ago: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days_ago)


def deliver(bench: WorkerBench, chat_id: str, up_to: int = 2**40) -> None:
    bench.rows(
        "UPDATE chat_members w SET delivered_seq = least(c.last_seq, :up_to) "
        "FROM chats c WHERE c.id = w.chat_id AND c.id = :chat",
        chat=chat_id,
        up_to=up_to,
    )


def stored(bench: WorkerBench) -> list[Row]:
    return [tuple(row) for row in bench.rows("SELECT * FROM messages ORDER BY chat_id, seq")]


def objects(s3: Any) -> dict[str, bytes]:
    listed = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {
        entry["Key"]: s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        for entry in listed
        if entry["Key"].endswith(".gz")
    }


def archived(s3: Any) -> list[tuple[str, int]]:
    """Return chat and seq of all messages in all objects."""
    lines = [json.loads(line) for body in objects(s3).values() for line in gzip.decompress(body).splitlines()]
    return [(line["chat_id"], line["seq"]) for line in lines]


def noted(bench: WorkerBench) -> list[tuple[str, int]]:
    """Return chat and seq of all messages in `archived_chats`."""
    rows = bench.rows(
        "SELECT chat_id, generate_series(lower(span), upper(span) - 1) AS seq "
        "FROM archived_chats, unnest(seqs) AS span ORDER BY chat_id, seq"
    )
    return [(str(row.chat_id), row.seq) for row in rows]


def is_whole(bench: WorkerBench, s3: Any, before: list[Row]) -> bool:
    """Return whether each message is in exactly one place, and `archived_chats` says so."""
    here = [(str(row[0]), row[1]) for row in stored(bench)]
    there = sorted(archived(s3))
    return sorted(here + there) == [(str(row[0]), row[1]) for row in before] and there == sorted(noted(bench))
