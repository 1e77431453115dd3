"""Keeps events that no worker could handle, so that an operator can inspect and replay them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, text

from infra.wire.batch import Event
from workers.arrays import array

_KEEP = text(
    """
    INSERT INTO dead_letters (id, event, user_id, payload, error)
    VALUES (:id, :event, :user_id, :payload, :error)
    ON CONFLICT (id) DO UPDATE SET error = excluded.error
    """
)
_NEWEST = text(
    """
    SELECT id::text AS id, created_at, event, user_id::text AS user_id, split_part(error, chr(10), 1) AS error
    FROM dead_letters
    ORDER BY created_at DESC, id DESC
    LIMIT :limit
    """
)
_FIND = text(
    """
    SELECT id::text AS id, created_at, event, user_id::text AS user_id, error, payload
    FROM dead_letters WHERE id = CAST(:id AS uuid)
    """
)
_ALL_IDS = text("SELECT id::text FROM dead_letters ORDER BY id")
_IDS = text("SELECT id::text FROM dead_letters WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id")
_DROP = text("DELETE FROM dead_letters WHERE id = ANY(CAST(:ids AS uuid[]))")


@dataclass(frozen=True, slots=True)
class LetterHead:
    """A letter as it is listed: without anything that its sender wrote."""

    id: str
    """Id of the event."""
    created_at: datetime
    event: str
    user_id: str
    error: str
    """In a list, only its first line."""


@dataclass(frozen=True, slots=True)
class Letter(LetterHead):
    """A whole letter, with its private content."""

    payload: str
    """The client's JSON, with U+FFFD for bytes that are not valid Unicode.

    Such bytes can only be in fields that nobody reads; otherwise the event would have been rejected.
    """

    @property
    def headline(self) -> str:
        """First line of the error. Later lines may quote the values that the database refused."""
        return self.error.partition("\n")[0]


def keep(engine: Engine, event: Event, error: BaseException) -> None:
    """Store the event with its newest error, in a transaction of its own.

    Raises sqlalchemy.exc.SQLAlchemyError.
    """
    row = {
        "id": UUID(event.id),
        "event": event.name,
        "user_id": UUID(event.user_id),
        "payload": bytes(event.payload).decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}"),
        "error": f"{type(error).__name__}: {error}".replace("\0", ""),
    }
    with engine.begin() as conn:
        conn.execute(_KEEP, row)


def newest(engine: Engine, limit: int) -> list[LetterHead]:
    """Return the newest letters, newest first. Raises sqlalchemy.exc.SQLAlchemyError."""
    with engine.connect() as conn:
        return [LetterHead(**row) for row in conn.execute(_NEWEST, {"limit": limit}).mappings()]


def find(engine: Engine, letter_id: str) -> Letter | None:
    """Return a letter, if there is one with this id. Raises sqlalchemy.exc.SQLAlchemyError."""
    with engine.connect() as conn:
        row = conn.execute(_FIND, {"id": letter_id}).mappings().one_or_none()
    return None if row is None else Letter(**row)


def all_ids(engine: Engine) -> list[str]:
    """Return the ids of all letters, in the order in which edges accepted the events."""
    with engine.connect() as conn:
        return list(conn.execute(_ALL_IDS).scalars())


def known_ids(engine: Engine, letter_ids: Iterable[str]) -> list[str]:
    """Return those of the ids that exist, in the order of `all_ids`."""
    with engine.connect() as conn:
        return list(conn.execute(_IDS, {"ids": array(letter_ids)}).scalars())


def drop(engine: Engine, letter_ids: Iterable[str]) -> None:
    """Remove letters, ignoring those that are gone already. Raises sqlalchemy.exc.SQLAlchemyError."""
    with engine.begin() as conn:
        conn.execute(_DROP, {"ids": array(letter_ids)})
