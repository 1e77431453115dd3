"""The job that docs/functions.md shows, and what it needs to have something to do."""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, text

from functions.due import newest_due
from functions.jobs import Job
from tests.harness.engines import Store

EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "examples"
NAME: Final = "weekly_digest"
JOB: Final = Job(NAME, "0 9 * * 1", "Europe/Berlin", late_s=3_600)

_SEED: Final = """
INSERT INTO profiles (id, username, username_key) VALUES (:alice, :a, :a), (:bob, :b, :b);
INSERT INTO chats (id, user_lo, user_hi) VALUES (:chat, least(:alice, :bob), greatest(:alice, :bob));
INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
SELECT :chat, seq, gen_random_uuid(), :alice, :bob, 'hello',
    date_trunc('week', now(), 'Europe/Berlin') - days * interval '1 day'
FROM (VALUES (1, 9), (2, 5), (3, 3), (4, -0.001)) AS sent (seq, days);
"""


def newest() -> str:
    """Return the time for which beat would run it now."""
    due = newest_due(JOB, datetime.now(UTC))
    assert due is not None
    return due.isoformat()


def seed(store: Store) -> uuid.UUID:
    """Make the team's table, and messages to a user: two in the last week, one before it, one after it."""
    alice, bob, chat = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    given = {"alice": alice, "bob": bob, "chat": chat, "a": f"alice{alice.hex[:8]}", "b": f"bob{bob.hex[:8]}"}
    with store.engine().begin() as conn:
        conn.exec_driver_sql("DROP SCHEMA IF EXISTS team CASCADE")
        conn.exec_driver_sql((EXAMPLES / f"{NAME}.sql").read_text())
        for statement in filter(str.strip, _SEED.split(";")):
            conn.execute(
                text(statement), {key: value for key, value in given.items() if f":{key}" in statement}
            )
    return bob


def digests(store: Store, user: uuid.UUID) -> list[int]:
    """Return how many messages the digests of a user name."""
    return [row.messages for row in rows(store.engine(), user)]


def rows(engine: Engine, user: uuid.UUID) -> list[Any]:
    """Return the digests of a user."""
    with engine.connect() as conn:
        found = conn.execute(text("SELECT * FROM team.weekly_digest WHERE user_id = :user"), {"user": user})
        return list(found)
