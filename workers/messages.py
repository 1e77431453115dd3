"""Reading stored messages, the same way for acks, pages, sweeps and retries."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, text

from infra.wire.events import NEW_MESSAGE, Message, Status, iso_ms
from infra.wire.inbox import Emit, Position, Target
from workers.arrays import array
from workers.chats import Chat

COLUMNS = """
    m.chat_id, m.seq, m.id, m.sender_id, s.username AS sender_username,
    m.recipient_id, r.username AS recipient_username,
    m.text, m.client_id, m.created_at, w.delivered_seq, w.read_seq
"""
JOINS = """
    JOIN profiles s ON s.id = m.sender_id
    JOIN profiles r ON r.id = m.recipient_id
    JOIN chat_members w ON w.chat_id = m.chat_id AND w.user_id = m.recipient_id
"""
"""What a select of COLUMNS needs behind `FROM messages m`."""

_RANGES = text(
    f"""
    SELECT {COLUMNS}
    FROM unnest(CAST(:chats AS uuid[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))
        AS wanted (chat_id, first, last)
    JOIN messages m ON m.chat_id = wanted.chat_id AND m.seq BETWEEN wanted.first AND wanted.last
    {JOINS}
    ORDER BY m.chat_id, m.seq
    """
)
_WINDOWS = text(
    f"""
    WITH m AS MATERIALIZED (
        SELECT wanted.place, message.*
        FROM unnest(
            CAST(:places AS int[]), CAST(:chats AS uuid[]), CAST(:edges AS bigint[]),
            CAST(:upwards AS bool[]), CAST(:sizes AS int[])
        ) AS wanted (place, chat_id, edge, upwards, size)
        CROSS JOIN LATERAL (
            (
                SELECT * FROM messages
                WHERE wanted.upwards AND chat_id = wanted.chat_id AND seq >= wanted.edge
                ORDER BY seq LIMIT wanted.size + 2
            )
            UNION ALL
            (
                SELECT * FROM messages
                WHERE NOT wanted.upwards AND chat_id = wanted.chat_id AND seq < wanted.edge
                ORDER BY seq DESC LIMIT wanted.size + 1
            )
        ) message
    )
    SELECT m.place, {COLUMNS}
    FROM m
    {JOINS}
    ORDER BY m.place, m.seq
    """
)
"""A page with one message more at either end, which tells whether anything is missing there."""

_ARCHIVED = text(
    """
    SELECT hole.chat_id, hole.seq
    FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])) AS hole (chat_id, seq)
    JOIN archived_chats a ON a.chat_id = hole.chat_id AND a.seqs @> hole.seq
    """
)


class Span(NamedTuple):
    """The messages `first` to `last` (inclusive) of a chat."""

    chat_id: str
    first: int
    last: int


def read_spans(conn: Connection, spans: Collection[Span]) -> dict[Span, list[Message]]:
    """Read all spans with one statement; each ascending by seq."""
    wanted = {span for span in spans if span.last >= span.first}
    found: dict[tuple[str, int], Message] = {}
    if wanted:
        order = sorted(wanted)
        rows = conn.execute(
            _RANGES,
            {
                "chats": array(span.chat_id for span in order),
                "firsts": array(span.first for span in order),
                "lasts": array(span.last for span in order),
            },
        )
        found = {(row.chat_id, row.seq): to_message(row) for row in rows}
    return {
        span: [
            found[span.chat_id, seq]
            for seq in range(span.first, span.last + 1)
            if (span.chat_id, seq) in found
        ]
        for span in spans
    }


class Window(NamedTuple):
    """What is asked of a chat: at most `size` messages, the ones nearest to an edge."""

    chat_id: str
    edge: int
    """Messages before it, or, upwards, those behind it."""
    upwards: bool
    size: int
    end: int
    """The seq that the next new message gets."""

    @classmethod
    def before(cls, chat: Chat, seq: int | None, size: int) -> "Window":
        """Return the window that ends before `seq`, or with the newest message."""
        end = chat.last_seq + 1
        return cls(chat.id, end if seq is None else min(seq, end), False, size, end)

    @classmethod
    def after(cls, chat_id: str, last_seq: int, seq: int, size: int) -> "Window":
        """Return the window that begins behind `seq`."""
        return cls(chat_id, min(seq, last_seq), True, size, last_seq + 1)


@dataclass(frozen=True, slots=True)
class Page:
    """A run of messages without a hole, ascending by seq."""

    messages: list[Message]
    has_more: bool
    """Whether more is stored further on, in the direction of the window."""
    archived_before: int | msgspec.UnsetType
    """The seq at which the page begins, when the one before it is in the archive."""


def read_pages(conn: Connection, windows: Collection[Window]) -> dict[Window, Page]:
    """Read all pages with one statement, and one more when something is missing before any of them.

    History may be missing: what is in the archive, and what was deleted because of its age. A page
    ends where something is missing.
    """
    order = sorted(set(windows))
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    if order:
        params = {
            "places": array(range(len(order))),
            "chats": array(window.chat_id for window in order),
            "edges": array(window.edge for window in order),
            "upwards": [window.upwards for window in order],
            "sizes": array(window.size for window in order),
        }
        for row in conn.execute(_WINDOWS, params):
            found[row.place].append(row)
    runs = [_run(window, found[place]) for place, window in enumerate(order)]
    starts = [run[0].seq if run else _empty_at(window) for window, run in zip(order, runs, strict=True)]
    holes = {
        (window.chat_id, start - 1)
        for place, (window, start) in enumerate(zip(order, starts, strict=True))
        if start > 1 and not any(row.seq == start - 1 for row in found[place])
    }
    archived = _read_archived(conn, holes)
    return {
        window: Page(
            messages=[to_message(row) for row in run],
            has_more=len(run) < sum(not window.upwards or row.seq > window.edge for row in found[place]),
            archived_before=start if (window.chat_id, start - 1) in archived else msgspec.UNSET,
        )
        for place, (window, run, start) in enumerate(zip(order, runs, starts, strict=True))
    }


def _run(window: Window, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Return the rows next to the window's edge, up to the first hole; ascending."""
    if window.upwards:
        rows = [row for row in rows if row.seq > window.edge][: window.size]
        return [row for place, row in enumerate(rows) if row.seq == rows[0].seq + place]
    rows = rows[max(0, len(rows) - window.size) :]
    return [row for place, row in enumerate(reversed(rows)) if row.seq == rows[-1].seq - place][::-1]


def _empty_at(window: Window) -> int:
    """Return where a page without messages stands."""
    return window.end if window.upwards else window.edge


def _read_archived(conn: Connection, messages: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
    """Return those of the messages, by chat and seq, that are in the archive."""
    if not messages:
        return frozenset()
    params = {
        "chats": array(chat_id for chat_id, _ in messages),
        "seqs": array(seq for _, seq in messages),
    }
    return frozenset((row.chat_id, row.seq) for row in conn.execute(_ARCHIVED, params))


def to_message(row: Row[Any]) -> Message:
    """Turn a row of COLUMNS into what clients see."""
    return Message(
        id=row.id,
        chat_id=row.chat_id,
        seq=row.seq,
        sender_id=row.sender_id,
        sender_username=row.sender_username,
        recipient_id=row.recipient_id,
        recipient_username=row.recipient_username,
        text=row.text,
        created_at=iso_ms(row.created_at),
        status=_status(row.seq, row.delivered_seq, row.read_seq),
        client_id=row.client_id or msgspec.UNSET,
    )


def deliveries(messages: Iterable[Message]) -> list[Emit]:
    """Return what brings the messages to all sockets of their recipients."""
    return [
        Emit(
            [Target(message.recipient_id, NEW_MESSAGE, ack=True)],
            msgspec.Raw(msgspec.json.encode(message)),
            Position(message.chat_id, message.seq),
        )
        for message in messages
    ]


def _status(seq: int, delivered_seq: int, read_seq: int) -> Status:
    if seq <= read_seq:
        return "read"
    return "delivered" if seq <= delivered_seq else "sent"
