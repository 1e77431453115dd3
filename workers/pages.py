"""Pages of history: runs of messages without a hole."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, text

from infra.wire.events import Message
from workers.arrays import array
from workers.messages import COLUMNS, JOINS, to_message

ANSWER_BYTES: Final = 800_000
"""Most bytes of messages in one answer, unless a single one is longer. Some clients refuse large frames."""
_SHORT: Final = 2_000
"""No message has more bytes, apart from its text, what it answers, data and reactions."""
_LONG: Final = 12_000
"""No message has more bytes, apart from its text."""
_CHAR_BYTES: Final = 6
"""No character of a text takes more in JSON: `\\u0001`."""

_WINDOWS = text(
    f"""
    WITH m AS MATERIALIZED (
        SELECT wanted.place, message.*
        FROM unnest(
            CAST(:places AS int[]), CAST(:chats AS uuid[]), CAST(:edges AS bigint[]),
            CAST(:upwards AS bool[]), CAST(:sizes AS int[]), CAST(:cleared AS bigint[])
        ) AS wanted (place, chat_id, edge, upwards, size, cleared_seq)
        CROSS JOIN LATERAL (
            (
                SELECT * FROM messages
                WHERE wanted.upwards AND chat_id = wanted.chat_id AND seq >= wanted.edge
                ORDER BY seq LIMIT wanted.size + 2
            )
            UNION ALL
            (
                SELECT * FROM messages
                WHERE NOT wanted.upwards AND chat_id = wanted.chat_id
                    AND seq < wanted.edge AND seq > wanted.cleared_seq
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
"""A page, and one more message at either end, which shows whether anything is missing there."""

_ARCHIVED = text(
    """
    SELECT hole.chat_id, hole.seq
    FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])) AS hole (chat_id, seq)
    JOIN archived_chats a ON a.chat_id = hole.chat_id AND a.seqs @> hole.seq
    """
)


class Window(NamedTuple):
    """A request for at most `size` messages of a chat, those nearest to an edge."""

    chat_id: str
    edge: int
    """A seq. The messages before it are wanted, or, upwards, those after it."""
    upwards: bool
    size: int
    end: int
    """The seq that the next new message gets."""
    cleared_seq: int
    """The reader is shown no message up to this seq."""

    @classmethod
    def before(cls, chat_id: str, last_seq: int, seq: int | None, size: int, *, cleared_seq: int) -> "Window":
        """Return the window that ends before `seq`, or with the newest message."""
        end = last_seq + 1
        edge = max(end if seq is None else min(seq, end), cleared_seq + 1)
        return cls(chat_id, edge, False, size, end, cleared_seq)

    @classmethod
    def after(cls, chat_id: str, last_seq: int, seq: int, size: int, *, cleared_seq: int) -> "Window":
        """Return the window that begins after `seq`."""
        return cls(chat_id, max(min(seq, last_seq), cleared_seq), True, size, last_seq + 1, cleared_seq)


@dataclass(frozen=True, slots=True)
class Page:
    """A run of messages without a hole, ascending by seq. Together they are no larger than an answer."""

    messages: list[Message]
    has_more: bool
    """Whether more messages are stored in the direction of the window."""
    archived_before: int | msgspec.UnsetType
    """The seq at which the page begins, if the message before it is in the archive."""


def read_pages(conn: Connection, windows: Collection[Window]) -> dict[Window, Page]:
    """Read all pages with one statement, and one more if messages are missing before any of them.

    Messages may be missing because they are in the archive, or were deleted because of their age. A page
    ends where one is missing, or where it would be larger than an answer.
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
            "cleared": array(window.cleared_seq for window in order),
        }
        for row in conn.execute(_WINDOWS, params):
            found[row.place].append(row)
    runs = [_shortened(window, _run(window, found[place])) for place, window in enumerate(order)]
    starts = [run[0].seq if run else _empty_at(window) for window, run in zip(order, runs, strict=True)]
    holes = {
        (window.chat_id, start - 1)
        for place, (window, start) in enumerate(zip(order, starts, strict=True))
        if start > window.cleared_seq + 1 and not any(row.seq == start - 1 for row in found[place])
    }
    archived = _read_archived(conn, holes)
    return {
        window: Page(
            messages=run,
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


def _shortened(window: Window, rows: Sequence[Row[Any]]) -> list[Message]:
    """Return the messages of a run, but those furthest from the edge only if there is room for them."""
    messages = [to_message(row) for row in rows]
    if sum(map(_bound, messages)) <= ANSWER_BYTES:
        return messages
    if window.upwards:
        return messages[: fitting(messages)[0]]
    return messages[len(messages) - fitting(reversed(messages))[0] :]


def _bound(message: Message) -> int:
    """Return how many bytes a message may have at most."""
    is_plain = message.data is message.reply_to is message.reactions is msgspec.UNSET
    return (_SHORT if is_plain else _LONG) + _CHAR_BYTES * len(message.text)


def fitting(items: Iterable[msgspec.Struct], room: int = ANSWER_BYTES) -> tuple[int, int]:
    """Return how many of the items have room in an answer, and their bytes.

    A single one always has, unless something else is in the answer already.
    """
    count = size = 0
    for item in items:
        added = len(msgspec.json.encode(item))
        if size + added > room and (count or room < ANSWER_BYTES):
            break
        count, size = count + 1, size + added
    return count, size


def _empty_at(window: Window) -> int:
    """Return the seq at which a page without messages begins."""
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
