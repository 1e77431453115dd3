"""Sends at a fixed pace, by the statement of the workers without the columns that some revision lacks.

The workers of most revisions cannot run any more, so this is what can be sent at all of them.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Engine, text

SEND: Final = text(
    """
    WITH routed AS MATERIALIZED (
        SELECT s.id AS sender_id, r.id AS recipient_id, c.id AS chat_id, c.last_seq,
            greatest(now(), c.activity_at) AS created_at
        FROM profiles s
        JOIN profiles r ON r.username_key = :key
        JOIN chats c ON c.user_lo = least(s.id, r.id) AND c.user_hi = greatest(s.id, r.id)
        WHERE s.id = md5(:sender)::uuid
        FOR NO KEY UPDATE OF c
    ), advanced AS (
        UPDATE chats c
        SET last_seq = c.last_seq + 1, activity_at = routed.created_at,
            sweep_at = coalesce(c.sweep_at, now() + interval '10 s')
        FROM routed WHERE c.id = routed.chat_id
    )
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
    SELECT chat_id, last_seq + 1, gen_random_uuid(), sender_id, recipient_id, 'under load', created_at
    FROM routed
    RETURNING chat_id
    """
)
_CONFIRM: Final = text(
    "UPDATE chat_members SET delivered_seq = delivered_seq + 1"
    " WHERE chat_id = :chat AND user_id = md5(:user)::uuid"
)


def send(conn: Connection, sender: int, users: int) -> UUID:
    """Send a message from a user to the next one, and confirm its delivery. Return the chat."""
    recipient = f"user{sender % users + 1}"
    chat: UUID = conn.execute(SEND, {"sender": f"user{sender}", "key": recipient}).scalar_one()
    conn.execute(_CONFIRM, {"chat": chat, "user": recipient})
    return chat


@dataclass
class Load:
    """What the sends of a while have met."""

    waits_s: list[float] = field(default_factory=list)
    """From the moment at which each send was due until it was stored."""
    errors: list[BaseException] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return the time within which that share of the sends was stored, in seconds."""
        return sorted(self.waits_s)[int(share * (len(self.waits_s) - 1))]


@contextmanager
def sending(engine: Engine, users: int, *, threads: int = 8, pace_s: float = 0.04) -> Iterator[Load]:
    """Send in the block, each thread once per `pace_s`. What waits for an earlier one is late, too."""
    load, over = Load(), threading.Event()
    running = [
        threading.Thread(target=_send_on, args=(engine, users, pace_s, load, over)) for _ in range(threads)
    ]
    for thread in running:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in running:
            thread.join()


def _send_on(engine: Engine, users: int, pace_s: float, load: Load, over: threading.Event) -> None:
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            due = time.monotonic() + random.random() * pace_s
            while not over.is_set():
                over.wait(max(0, due - time.monotonic()))
                send(conn, random.randint(1, users), users)
                load.waits_s.append(time.monotonic() - due)
                due += pace_s
    except BaseException as error:
        load.errors.append(error)
