"""Finds the user whom an operator names."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from infra.store.erasures import has_traces
from infra.store.profiles import find_key

_BY_ID = text("SELECT id, username, deleted_at FROM profiles WHERE id = :id")
_BY_NAME = text(
    "SELECT id, username, deleted_at FROM profiles WHERE username_key = :key AND deleted_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose data the chat holds."""

    id: UUID
    username: str | None
    """What peers see. None if the profile was removed for good."""
    deleted_at: datetime | None


def find_person(engine: Engine, id_or_name: str) -> Person | None:
    """Return the user with this id, or else with this name; None if nothing is known of them."""
    with engine.connect() as conn:
        user_id = _uuid(id_or_name)
        if user_id is not None and (found := _by_id(conn, user_id)):
            return found
        row = conn.execute(_BY_NAME, {"key": find_key(id_or_name)}).one_or_none()
        return None if row is None else Person(*row)


def _by_id(conn: Connection, user_id: UUID) -> Person | None:
    row = conn.execute(_BY_ID, {"id": user_id}).one_or_none()
    if row is not None:
        return Person(*row)
    return Person(user_id, None, None) if has_traces(conn, user_id) else None


def _uuid(written: str) -> UUID | None:
    try:
        return UUID(written)
    except ValueError:
        return None
