"""Erases the rows that are a user's alone, and their profile."""

from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from functions.archive.patience import patiently
from functions.erasure import record
from functions.pacer import Pacer
from infra.store import erasures
from infra.store.erasures import Erasure
from infra.store.letters import IS_LETTER_OF

_SLICE: Final = 250
_IS_OWN: Final = "l.user_id = :user"
_TABLES: Final = {
    "devices": ("id", _IS_OWN),
    "notifications": ("id", _IS_OWN),
    "undelivered": ("chat_id", _IS_OWN),
    "dead_letters": ("id", IS_LETTER_OF),
    "refused_names": ("user_id", _IS_OWN),
}
"""Tables, what tells their rows of one user apart, and which rows `l` are a user's."""

_DELETE_PROFILE = text("DELETE FROM profiles WHERE id = :user")
"""A trigger keeps a tombstone for the chats of peers."""
_FORGET_SETTINGS = text(
    """
    UPDATE profiles SET
        messages_from = DEFAULT, read_receipts = DEFAULT, show_presence = DEFAULT, push_texts = DEFAULT,
        handled = NULL, refused = NULL, last_seen_at = NULL, created_at = deleted_at, named_at = deleted_at
    WHERE id = :user AND deleted_at IS NOT NULL
    """
)


def take_name(engine: Engine, user_id: UUID) -> None:
    """Make the profile that of a deleted user, who can write no more."""
    patiently(engine, lambda conn: erasures.take_name(conn, user_id))


def delete_rows(engine: Engine, pacer: Pacer, erasure: Erasure) -> bool:
    """Delete devices, notifications, dead letters and the like. Return False if the run is out of time."""
    for table, (key, is_own) in _TABLES.items():
        statement = text(
            f"""
            DELETE FROM {table} l WHERE {is_own} AND {key} = ANY(ARRAY(
                SELECT {key} FROM {table} l WHERE {is_own} ORDER BY {key} LIMIT {_SLICE} FOR UPDATE
            ))
            """
        )

        def delete(conn: Connection) -> int:
            deleted = conn.execute(statement, {"user": erasure.user_id}).rowcount  # noqa: B023
            record.count(conn, erasure.user_id, {f"postgres.{table}": deleted})  # noqa: B023
            return deleted

        while patiently(engine, delete):
            if pacer.out_of_time:
                return False
            pacer.pause()
    return True


def delete_profile(engine: Engine, erasure: Erasure) -> None:
    """Delete the profile, up to the tombstone, and the user's settings."""

    def delete(conn: Connection) -> None:
        # Locked first, as by workers who take another wish.
        row = erasures.find(conn, erasure.user_id, lock=True) or erasure
        conn.execute(_DELETE_PROFILE, {"user": erasure.user_id})
        profiles = conn.execute(_FORGET_SETTINGS, {"user": erasure.user_id}).rowcount
        # Repeating it, or another run, finds the same tombstone.
        known = row.counts.get("postgres.profiles", 0)
        record.count(conn, erasure.user_id, {"postgres.profiles": max(0, profiles - known)})

    patiently(engine, delete)
