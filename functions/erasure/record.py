"""Notes how far an erasure has come, and what it has erased."""

from collections.abc import Mapping
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import bindparam

from functions.errors import ErasureRefused
from infra.store import erasures
from infra.store.erasures import ErasedAlready, Erasure, Mode
from infra.wire.events import Manifest

_MOVE = text(
    "UPDATE erasures SET step = :step, place = :place WHERE user_id = :user AND started_at = :started"
)
_COUNT = text(
    """
    UPDATE erasures SET counts = counts || (
        SELECT jsonb_object_agg(key, coalesce(CAST(counts ->> key AS bigint), 0) + CAST(value AS bigint))
        FROM jsonb_each_text(:counts)
    )
    WHERE user_id = :user
    """
).bindparams(bindparam("counts", type_=JSONB))
_FINISH = text(
    "UPDATE erasures SET finished_at = now(), place = NULL WHERE user_id = :user AND started_at = :started"
)
_KEEP = text("UPDATE erasures SET manifest = :manifest WHERE user_id = :user").bindparams(
    bindparam("manifest", type_=JSONB)
)

_ERASED = "the user's messages are erased already; repeat it with --mode delete"


def begin(engine: Engine, user_id: UUID, mode: Mode) -> Erasure:
    """Begin an erasure, or return the one that was cut short.

    Raises ErasureRefused for a user whose messages are erased already, or are being erased.
    """
    try:
        with engine.begin() as conn:
            return erasures.begin(conn, user_id, mode, again=True)
    except ErasedAlready as error:
        raise ErasureRefused(_ERASED) from error


def find(engine: Engine, user_id: UUID) -> Erasure | None:
    """Return the erasure of a user, if there was one."""
    with engine.connect() as conn:
        return erasures.find(conn, user_id)


def move(conn: Connection, erasure: Erasure, step: str, place: str | None) -> None:
    """Note how far the erasure has come. Raises ErasureRefused if it was begun anew meanwhile."""
    params = {"user": erasure.user_id, "started": erasure.started_at, "step": step, "place": place}
    _require(conn.execute(_MOVE, params).rowcount)


def count(conn: Connection, user_id: UUID, counts: Mapping[str, int]) -> None:
    """Add to what was erased, in the transaction that erases it."""
    if some := {name: number for name, number in counts.items() if number}:
        conn.execute(_COUNT, {"user": user_id, "counts": some})


def finish(conn: Connection, erasure: Erasure) -> Erasure:
    """Note that everything is done. Raises ErasureRefused if it was begun anew meanwhile."""
    params = {"user": erasure.user_id, "started": erasure.started_at}
    _require(conn.execute(_FINISH, params).rowcount)
    return erasures.find(conn, erasure.user_id) or erasure


def keep(conn: Connection, manifest: Manifest) -> None:
    """Keep what was done, for whoever asks."""
    conn.execute(_KEEP, {"user": manifest.user_id, "manifest": msgspec.to_builtins(manifest)})


def _require(rows: int) -> None:
    if not rows:
        raise ErasureRefused("it was begun anew meanwhile; repeat it")
