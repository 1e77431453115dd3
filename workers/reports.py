"""What operators and the app's backend see of reports, and that they are done with them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Engine, text

from infra.wire.events import Message
from workers.arrays import array
from workers.time_cursor import TimeCursor

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
_OLDER = "(r.created_at, r.id) < (wanted.before_time, wanted.before_id)"
_PAGES = text(
    f"""
    SELECT wanted.request, found.*
    FROM unnest(
        CAST(:requests AS int[]), CAST(:with_closed AS boolean[]), CAST(:times AS timestamptz[]),
        CAST(:before AS uuid[]), CAST(:limits AS int[])
    ) AS wanted (request, with_closed, before_time, before_id, size)
    CROSS JOIN LATERAL (
        (
            SELECT {_HEAD} FROM reports r
            WHERE wanted.with_closed AND {_OLDER}
            ORDER BY r.created_at DESC, r.id DESC LIMIT wanted.size
        )
        UNION ALL
        (
            SELECT {_HEAD} FROM reports r
            WHERE NOT wanted.with_closed AND r.closed_at IS NULL AND {_OLDER}
            ORDER BY r.created_at DESC, r.id DESC LIMIT wanted.size
        )
    ) found
    ORDER BY wanted.request, found.created_at DESC, CAST(found.id AS uuid) DESC
    """
)
"""Apart, so that open reports are found without looking at closed ones."""
_FIND = text(
    f"""
    SELECT {_HEAD}, r.note, r.messages::text AS messages FROM reports r
    WHERE r.id = ANY(CAST(:ids AS uuid[]))
    """
)
_HEADS = text(f"SELECT {_HEAD} FROM reports r WHERE r.id = ANY(CAST(:ids AS uuid[]))")
_IDS = text("SELECT id::text FROM reports WHERE id = ANY(CAST(:ids AS uuid[]))")
_CLOSE = text(
    """
    UPDATE reports r SET closed_at = now()
    FROM (
        SELECT id FROM reports WHERE id = ANY(CAST(:ids AS uuid[])) AND closed_at IS NULL
        ORDER BY id
        FOR NO KEY UPDATE
    ) open
    WHERE r.id = open.id AND r.closed_at IS NULL
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


@dataclass(frozen=True, slots=True)
class Page:
    """Which page of reports to read."""

    cursor: TimeCursor
    limit: int
    with_closed: bool


def read_pages(conn: Connection, pages: Sequence[Page]) -> list[list[ReportHead]]:
    """Return the reports of each page, newest first."""
    rows = conn.execute(
        _PAGES,
        {
            "requests": array(range(len(pages))),
            "with_closed": array(page.with_closed for page in pages),
            "times": array(page.cursor.time for page in pages),
            "before": [page.cursor.id for page in pages],
            "limits": array(page.limit for page in pages),
        },
    )
    found: dict[int, list[ReportHead]] = defaultdict(list)
    for row in rows.mappings():
        head = dict(row)
        found[head.pop("request")].append(ReportHead(**head))
    return [found[place] for place in range(len(pages))]


def find(engine: Engine, report_id: str) -> WholeReport | None:
    """Return a report, if there is one with this id. Raises sqlalchemy.exc.SQLAlchemyError."""
    with engine.connect() as conn:
        return find_all(conn, [report_id]).get(report_id)


def find_all(conn: Connection, report_ids: Collection[str]) -> dict[str, WholeReport]:
    """Return those of the reports that exist, by id."""
    rows = conn.execute(_FIND, {"ids": array(report_ids)}).mappings()
    return {
        row["id"]: WholeReport(
            **{**row, "messages": msgspec.json.decode(row["messages"], type=list[Message])}
        )
        for row in rows
    }


def known_ids(engine: Engine, report_ids: Iterable[str]) -> set[str]:
    """Return those of the ids that exist. Raises sqlalchemy.exc.SQLAlchemyError."""
    with engine.connect() as conn:
        return set(conn.execute(_IDS, {"ids": array(report_ids)}).scalars())


def close(engine: Engine, report_ids: Iterable[str]) -> None:
    """Note that somebody is done with these reports. Closed ones stay as they are."""
    with engine.begin() as conn:
        conn.execute(_CLOSE, {"ids": array(report_ids)})


def close_all(conn: Connection, report_ids: Collection[str]) -> dict[str, ReportHead]:
    """Close reports as `close` does. Return those that exist, by id."""
    conn.execute(_CLOSE, {"ids": array(report_ids)})
    rows = conn.execute(_HEADS, {"ids": array(report_ids)}).mappings()
    return {row["id"]: ReportHead(**row) for row in rows}
