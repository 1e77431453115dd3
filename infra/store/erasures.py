"""Who is to be erased, and how far that is: what workers, who take the wish, and functions share."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text

from infra.wire.commands import ErasureMode
from infra.wire.server_api import NOBODY


class Mode(StrEnum):
    """What becomes of the user's messages."""

    DELETE = "delete"
    """Their texts and data are erased, and tombstones stay."""
    ANONYMISE = "anonymise"
    """They stay, and nobody knows whose they are."""


FIRST_STEP: Final = "name"
"""Of those in `functions.erasure.job`."""

_COLUMNS = "user_id, mode, started_at, step, place, counts, finished_at, archive_settled, manifest"
_BEGIN = text(
    f"""
    INSERT INTO erasures (user_id, mode, step) VALUES (:user, :mode, '{FIRST_STEP}')
    ON CONFLICT (user_id) DO UPDATE SET
        mode = excluded.mode, step = excluded.step, place = NULL, started_at = now(), finished_at = NULL,
        archive_settled = false, next_at = now(), manifest = NULL
    WHERE (erasures.mode = excluded.mode OR excluded.mode = '{Mode.DELETE}') AND (
        erasures.mode <> excluded.mode
        OR erasures.finished_at IS NOT NULL AND (
            :again OR EXISTS (SELECT FROM profiles WHERE id = :user AND deleted_at IS NULL)
        )
    )
    RETURNING {_COLUMNS}
    """
)
"""Begins anew if the last one did less, or is finished and the user has come back since.

One that was cut short goes on where it stopped.
"""
_FIND = text(f"SELECT {_COLUMNS} FROM erasures WHERE user_id = :user")
_LOCK = text(f"SELECT {_COLUMNS} FROM erasures WHERE user_id = :user FOR UPDATE")
_HAS_TRACES = text(
    f"""
    SELECT EXISTS (SELECT FROM profiles WHERE id = :user)
        OR EXISTS (SELECT FROM erasures WHERE user_id = :user)
        OR EXISTS (SELECT FROM reports WHERE reporter_id = :user)
        OR EXISTS (SELECT FROM reports WHERE reported_id = :user)
        OR EXISTS (SELECT FROM dead_letters WHERE user_id = :user AND user_id <> '{NOBODY}')
    """
)
"""Letters of the app's backend are of nobody, who is no user."""
_TAKE_NAME = text("SELECT take_name(:user)")
_FORGET_PROFILE = text(
    "UPDATE profiles SET display_name = NULL, avatar_url = NULL, data = NULL WHERE id = :user"
)


class ErasedAlready(Exception):
    """The user's messages are erased already, or are being erased: they cannot stay any more."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A row of `erasures`."""

    user_id: UUID
    mode: ErasureMode
    started_at: datetime
    step: str
    place: str | None
    counts: dict[str, int]
    finished_at: datetime | None
    archive_settled: bool
    manifest: dict[str, Any] | None

    @property
    def deletes(self) -> bool:
        """Whether the user's messages are erased, too."""
        return self.mode == "delete"


def begin(conn: Connection, user_id: UUID, mode: Mode, *, again: bool) -> Erasure:
    """Begin an erasure, or return the one that there is. `again` repeats one that is finished.

    Raises ErasedAlready.
    """
    row = conn.execute(_BEGIN, {"user": user_id, "mode": mode, "again": again}).one_or_none()
    erasure = _to_erasure(row or conn.execute(_FIND, {"user": user_id}).one())
    if erasure.mode != mode.value:
        raise ErasedAlready
    return erasure


def find(conn: Connection, user_id: UUID, *, lock: bool = False) -> Erasure | None:
    """Return the erasure of a user, if there was one."""
    row = conn.execute(_LOCK if lock else _FIND, {"user": user_id}).one_or_none()
    return None if row is None else _to_erasure(row)


def has_traces(conn: Connection, user_id: UUID) -> bool:
    """Return whether the chat holds anything of a user, who may be deleted."""
    return bool(conn.execute(_HAS_TRACES, {"user": user_id}).scalar_one())


def take_name(conn: Connection, user_id: UUID) -> None:
    """Make the profile that of a deleted user, who can write no more."""
    conn.execute(_TAKE_NAME, {"user": user_id})
    conn.execute(_FORGET_PROFILE, {"user": user_id})


def _to_erasure(row: Row[Any]) -> Erasure:
    return Erasure(**row._mapping)
