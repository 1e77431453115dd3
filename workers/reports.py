"""What operators see of reports, and that they are done with them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Engine, text

from infra.wire.events import Message
from workers.arrays import array

_HEAD = """
    r.id::text AS id, r.created_at, r.reason, r.reported_id::text AS reported_id,
    r.reporter_id::text AS reporter_id, r.chat_id::text AS chat_id, r.seq, r.closed_at
"""
_NEWEST = text(
    f"""
    SELECT {_HEAD} FROM reports r
    WHERE :with_closed OR r.closed_at IS NULL
    ORDER BY r.created_at DESC, r.id DESC
    LIMIT :limit
    """
)
_FIND = text(
    f"SELECT {_HEAD}, r.note, r.messages::text AS messages FROM reports r WHERE r.id = CAST(:id AS uuid)"
)
_IDS = text("SELECT id::text FROM reports WHERE id = ANY(CAST(:ids AS uuid[]))")
_CLOSE = text(
    """
    UPDATE reports SET closed_at = now() WHERE id = ANY(CAST(:ids AS uuid[])) AND closed_at IS NULL
    """
)


@dataclass(frozen=True, slots=True)
class ReportHead:
    """A report as it is listed: without anything that users have written to each other."""

    id: str
    created_at: datetime
    reason: str
    reported_id: str
    """Who wrote the message."""
    reporter_id: str
    chat_id: str
    seq: int
    """The message."""
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class WholeReport(ReportHead):
    """A report with its private content."""

    note: str | None
    messages: list[Message]
    """The reported one, last, and those before it, as they were."""


def newest(engine: Engine, limit: int, *, with_closed: bool) -> list[ReportHead]:
    """Return the newest reports, newest first. Raises sqlalchemy.exc.SQLAlchemyError."""
    with engine.connect() as conn:
        rows = conn.execute(_NEWEST, {"limit": limit, "with_closed": with_closed})
        return [ReportHead(**row) for row in rows.mappings()]


def find(engine: Engine, report_id: str) -> WholeReport | None:
    """Return a report, if there is one with this id. Raises sqlalchemy.exc.SQLAlchemyError."""
    with engine.connect() as conn:
        row = conn.execute(_FIND, {"id": report_id}).mappings().one_or_none()
    if row is None:
        return None
    return WholeReport(**{**row, "messages": msgspec.json.decode(row["messages"], type=list[Message])})


def known_ids(engine: Engine, report_ids: Iterable[str]) -> set[str]:
    """Return those of the ids that exist. Raises sqlalchemy.exc.SQLAlchemyError."""
    with engine.connect() as conn:
        return set(conn.execute(_IDS, {"ids": array(report_ids)}).scalars())


def close(engine: Engine, report_ids: Iterable[str]) -> None:
    """Note that somebody is done with these reports. Closed ones stay as they are."""
    with engine.begin() as conn:
        conn.execute(_CLOSE, {"ids": array(report_ids)})
