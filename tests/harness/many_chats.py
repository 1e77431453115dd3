"""A user with any number of chats, made by one statement."""

import uuid
from dataclasses import dataclass
from typing import Any, Protocol

from infra.store.boxes import Box

_CHATS = """
    WITH peers AS (
        INSERT INTO profiles (id, username)
        SELECT gen_random_uuid(), 'peer_' || :tag || '_' || n FROM generate_series(1, :count) AS n
        RETURNING id, username
    ), made AS (
        INSERT INTO chats (
            id, user_lo, user_hi, last_seq, activity_at, last_to_lo, last_to_hi, lo_box, hi_box
        )
        SELECT gen_random_uuid(), least(id, :user), greatest(id, :user), 1, now() - interval '1 day',
            CAST(id > :user AS int), CAST(id < :user AS int),
            CASE WHEN id > :user THEN :box ELSE 1 END, CASE WHEN id < :user THEN :box ELSE 1 END
        FROM peers
        RETURNING id, user_lo, user_hi
    ), members AS (
        INSERT INTO chat_members (chat_id, user_id)
        SELECT id, user_lo FROM made UNION ALL SELECT id, user_hi FROM made
    ), sent AS (
        INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
        SELECT id, 1, gen_random_uuid(), CASE :user WHEN user_lo THEN user_hi ELSE user_lo END, :user, 'hi',
            now() - interval '1 day'
        FROM made
    )
    SELECT made.id, peers.id AS peer, peers.username
    FROM made JOIN peers ON peers.id = CASE :user WHEN user_lo THEN user_hi ELSE user_lo END ORDER BY made.id
"""


class Database(Protocol):
    """What runs a statement: a deployment, or a worker bench."""

    def rows(self, sql: str, **params: object) -> list[Any]:
        """Run a statement and return its rows, if it has any."""


@dataclass
class ManyChats:
    """A user with many chats of one message each, a day old."""

    user: uuid.UUID
    username: str
    chats: list[Any]
    """Each with `id`, `peer` and `username`."""

    @property
    def ids(self) -> list[str]:
        """Return the ids of all chats."""
        return [str(chat.id) for chat in self.chats]


def add_chats(
    database: Database, user: uuid.UUID, username: str, count: int, *, box: Box = Box.INBOX
) -> ManyChats:
    """Give a user chats in a box with new users, each with one message to the user."""
    chats = database.rows(_CHATS, tag=uuid.uuid4().hex[:8], count=count, user=user, box=int(box))
    return ManyChats(user, username, chats)
