"""Old and recent rows of every kind, and assertions about them."""

import uuid
from collections.abc import Callable
from typing import Any

from functions.context import Summary
from tests.harness.worker_bench import WorkerBench

AGED = {
    "dead_letters": 30,
    "devices": 180,
    "notifications": 15,
    "webhooks": 30,
    "reports": 180,
    "holds": 0,
    "job_runs": 1_000,
}
"""After how many days the rows of each kind are removed."""
NOTHING: Summary = dict.fromkeys((*AGED, "messages", "failed"), 0)
RETENTION = {"retention_days": 2}

Clean = Callable[..., Summary]


def add_aged(bench: WorkerBench, kind: str, *ages_days: float) -> None:
    """Insert a row of a kind for each age."""
    person, _ = bench.person("alice")
    for number, days in enumerate(ages_days):
        bench.rows(
            {
                "dead_letters": "INSERT INTO dead_letters VALUES"
                " (:id, 'send_message', :user, '{}', 'broken', now() - :days * interval '1 day')",
                "devices": "INSERT INTO devices (id, user_id, channel, address, registered_at)"
                " VALUES (:id, :user, 'fcm', :address, now() - :days * interval '1 day')",
                "notifications": "INSERT INTO notifications (id, user_id, chat_ids, first_seqs, last_seqs,"
                " created_at, finished_at) VALUES (:id, :user, '{}', '{}', '{}',"
                " now() - :days * interval '1 day', CASE WHEN :number % 2 = 0 THEN now() END)",
                "webhooks": "INSERT INTO outbox (endpoint, id, event, about, body, dead_at)"
                " VALUES ('app', 'id', 'message.read', :id, '{}', now() - :days * interval '1 day')",
                "reports": "INSERT INTO reports"
                " (id, reporter_id, reported_id, chat_id, seq, reason, messages, created_at, closed_at)"
                " VALUES (:id, :user, :user, :id, 1, 'spam', '[]',"
                " now() - :days * interval '1 day', CASE WHEN :number % 2 = 0 THEN now() END)",
                "job_runs": "INSERT INTO job_runs (name, schedule, seen_until, began_at)"
                " VALUES ('job ' || :id, '', now(), now() - :days * interval '1 day')",
                "holds": "INSERT INTO archive_holds"
                " VALUES (DATE '2026-01-01' + CAST(:number AS integer), now() - :days * interval '1 day')",
            }[kind],
            **{"id": uuid.uuid4(), "user": person, "days": days, "number": number},
            address=f"token-{uuid.uuid4()}",
        )


def ages(bench: WorkerBench, kind: str) -> list[int]:
    """Return the ages of the rows of a kind in days, ascending."""
    table, at = {
        "devices": (kind, "registered_at"),
        "holds": ("archive_holds", "until"),
        "job_runs": (kind, "began_at"),
        "webhooks": ("outbox", "dead_at"),
    }.get(kind, (kind, "created_at"))
    found = bench.rows(f"SELECT round(extract(epoch FROM now() - {at}) / 86400)::int FROM {table} ORDER BY 1")
    return [row[0] for row in found]


def add_chat(bench: WorkerBench, *ages_days: float) -> str:
    """Make a chat with a message for each age, the oldest first. Return its id."""
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    sent = [bench.send(alice, bobs_name, "hello") for _ in ages_days] or [
        bench.event(alice, "join_chat", {"username": bobs_name})
    ]
    bench.ask(*sent)
    low, high = sorted((alice, bob))
    ((chat_id,),) = bench.rows(
        "SELECT id FROM chats WHERE user_lo = :low AND user_hi = :high", low=low, high=high
    )
    for seq, days in enumerate(ages_days, 1):
        bench.rows(
            "UPDATE messages SET created_at = now() - :days * interval '1 day'"
            " WHERE chat_id = :c AND seq = :seq",
            **{"c": chat_id, "seq": seq, "days": days},
        )
    return str(chat_id)


def fill(bench: WorkerBench) -> Summary:
    """Leave old and recent rows of every kind. Return what a run with `RETENTION` has to remove."""
    for kind, days in AGED.items():
        add_aged(bench, kind, *(days + number for number in (1, 2, 3, 4, 5, 6, 7)), days - 0.5)
    for chat in ([9, 8, 7, 6, 5, 4, 3, 2.5], [5, 1], [1, 1], [], [6, 5, 4, 3, 2.5, 1], [8], [9, 9, 9]):
        add_chat(bench, *chat)
    return {**dict.fromkeys(AGED, 7), "messages": 8 + 1 + 5 + 1 + 3}


def dump(bench: WorkerBench) -> dict[str, Any]:
    """Return every row of the tables that cleanup could touch."""
    tables = (
        *("dead_letters", "devices", "notifications", "reports", "messages"),
        *("archive_holds", "chats", "undelivered", "outbox"),
    )
    return {table: bench.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}
