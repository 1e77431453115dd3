"""What is known of an erasure: its mode, how far it has come, and what it has erased."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import bindparam

from functions.errors import ErasureRefused


class Mode(StrEnum):
    """What becomes of the user's messages."""

    DELETE = "delete"
    """Their texts and data are erased, and tombstones stay."""
    ANONYMISE = "anonymise"
    """They stay, and nobody knows whose they are."""


_COLUMNS = "user_id, mode, started_at, step, place, counts, finished_at, archive_settled"
_BEGIN = text(
    f"""
    INSERT INTO erasures (user_id, mode, step) VALUES (:user, :mode, :step)
    ON CONFLICT (user_id) DO UPDATE SET
        mode = excluded.mode, step = excluded.step, place = NULL, started_at = now(), finished_at = NULL,
        archive_settled = false
    WHERE erasures.finished_at IS NOT NULL OR erasures.mode <> excluded.mode
    RETURNING {_COLUMNS}
    """
)
"""Begins anew if the last one is finished, or did less. One that was cut short goes on where it stopped."""
_FIND = text(f"SELECT {_COLUMNS} FROM erasures WHERE user_id = :user")
_MOVE = text("UPDATE erasures SET step = :step, place = :place WHERE user_id = :user")
_COUNT = text(
    """
    UPDATE erasures SET counts = counts || (
        SELECT jsonb_object_agg(key, coalesce(CAST(counts ->> key AS bigint), 0) + CAST(value AS bigint))
        FROM jsonb_each_text(:counts)
    )
    WHERE user_id = :user
    """
).bindparams(bindparam("counts", type_=JSONB))
_FINISH = text("UPDATE erasures SET finished_at = now(), place = NULL WHERE user_id = :user")


@dataclass(frozen=True, slots=True)
class Erasure:
    """A row of `erasures`."""

    user_id: UUID
    mode: str
    started_at: datetime
    step: str
    place: str | None
    counts: dict[str, int]
    finished_at: datetime | None
    archive_settled: bool

    @property
    def deletes(self) -> bool:
        """Whether the user's messages are erased, too."""
        return self.mode == Mode.DELETE


def begin(engine: Engine, user_id: UUID, mode: Mode, step: str) -> Erasure:
    """Begin an erasure, or return the one that was cut short.

    Raises ErasureRefused for a user whose messages are erased already, or are being erased.
    """
    with engine.begin() as conn:
        known = _find(conn, user_id)
        if known is not None and known.deletes and mode is Mode.ANONYMISE:
            raise ErasureRefused("the user's messages are erased already; repeat it with --mode delete")
        row = conn.execute(_BEGIN, {"user": user_id, "mode": mode, "step": step}).one_or_none()
        found = Erasure(*row) if row else _find(conn, user_id)
    if found is None:
        raise ErasureRefused("somebody else has removed the row of the erasure; repeat it")
    return found


def find(engine: Engine, user_id: UUID) -> Erasure | None:
    """Return the erasure of a user, if there was one."""
    with engine.connect() as conn:
        return _find(conn, user_id)


def _find(conn: Connection, user_id: UUID) -> Erasure | None:
    row = conn.execute(_FIND, {"user": user_id}).one_or_none()
    return None if row is None else Erasure(*row)


def move(conn: Connection, user_id: UUID, step: str, place: str | None) -> None:
    """Note how far the erasure has come."""
    conn.execute(_MOVE, {"user": user_id, "step": step, "place": place})


def count(conn: Connection, user_id: UUID, counts: Mapping[str, int]) -> None:
    """Add to what was erased, in the transaction that erases it."""
    if some := {name: number for name, number in counts.items() if number}:
        conn.execute(_COUNT, {"user": user_id, "counts": some})


def finish(conn: Connection, user_id: UUID) -> None:
    """Note that everything is done."""
    conn.execute(_FINISH, {"user": user_id})


Params = dict[str, Any]
