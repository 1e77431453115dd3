"""What a socket receives after it has connected: everything not yet delivered to its user, in pages.

First the chats with undelivered messages are looked up. That fixes where each chat starts, so that a socket
receives all of it even if another one acks faster. The edge keeps this list and asks for page after page with
the few chats that come next, so that the cost of a page does not depend on how many chats there are. An edge
that may have missed publications asks in the same way, for that period.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, text

from infra.wire.commands import CatchUp
from infra.wire.events import MESSAGE_CHANGED
from infra.wire.inbox import Ahead, CatchUpPage, PendingMessage, Position
from workers.arrays import array
from workers.context import HandlerContext
from workers.messages import COLUMNS, JOINS, to_message
from workers.outcome import Outcome
from workers.requests import Request
from workers.unread import tell_unread

_CHATS: Final = 1_000
"""Most chats of a user that one request looks at."""
_ALL_CHATS: Final = 2**31 - 1
_BEFORE_ALL_CHATS: Final = "00000000-0000-0000-0000-000000000000"

_CHAT = """
    CROSS JOIN LATERAL (
        SELECT c.*, coalesce(CASE {user} WHEN c.user_lo THEN c.last_to_lo ELSE c.last_to_hi END, c.last_seq)
            AS newest_seq
        FROM chats c WHERE c.id = {chat} LIMIT 1
    ) chat
"""
"""Joins a chat by its key, however many rows the planner expects, with the newest seq to the user."""
_UNDELIVERED = """
    SELECT * FROM messages
    WHERE chat_id = {at}.chat_id AND seq > {at}.seq AND seq <= chat.newest_seq AND recipient_id = {at}.user_id
    ORDER BY seq LIMIT {limit}
"""

_LOOK_UP = text(
    f"""
    SELECT asked.request, portion.last_chat, found.chat_id, found.seq, found.created_at
    FROM unnest(
        CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:chats_after AS uuid[]),
        CAST(:chats AS int[]), CAST(:lost AS float[])
    ) AS asked (request, user_id, chats_after, chats, lost_s)
    LEFT JOIN LATERAL (
        SELECT chat_id AS last_chat FROM chat_members
        WHERE user_id = asked.user_id AND chat_id > asked.chats_after
        ORDER BY chat_id OFFSET asked.chats - 1 LIMIT 1
    ) portion ON true
    LEFT JOIN LATERAL (
        SELECT start.chat_id, start.seq, first.created_at
        FROM (
            SELECT * FROM chat_members
            WHERE user_id = asked.user_id AND chat_id > asked.chats_after
            ORDER BY chat_id LIMIT asked.chats
        ) mine
        {_CHAT.format(user="mine.user_id", chat="mine.chat_id")}
        LEFT JOIN LATERAL (
            SELECT min(newest.seq) - 1 AS seq
            FROM (
                SELECT seq, created_at FROM messages
                WHERE chat_id = chat.id AND chat.activity_at > now() - make_interval(secs => asked.lost_s)
                ORDER BY seq DESC LIMIT 1000
            ) newest
            WHERE newest.created_at > now() - make_interval(secs => asked.lost_s)
        ) lost ON true
        CROSS JOIN LATERAL (
            SELECT mine.chat_id, mine.user_id,
                greatest(least(mine.delivered_seq, lost.seq), mine.cleared_seq) AS seq
        ) start
        CROSS JOIN LATERAL ({_UNDELIVERED.format(at="start", limit=1)}) first
        WHERE chat.newest_seq > start.seq
    ) found ON true
    """
)
"""For each chat with messages that are not delivered, or may be lost: the first of them, and the seq before.

A request whose portion of chats is full has the last one of these in `last_chat`.
"""

_PAGE = text(
    f"""
    SELECT m.request, {COLUMNS}
    FROM (
        SELECT start.request, message.*, row_number() OVER (
            PARTITION BY start.request ORDER BY message.created_at, message.chat_id, message.seq
        ) AS place
        FROM unnest(
            CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:until AS timestamptz[]),
            CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])
        ) AS start (request, user_id, until, chat_id, seq)
        {_CHAT.format(user="start.user_id", chat="start.chat_id")}
        CROSS JOIN LATERAL ({_UNDELIVERED.format(at="start", limit=":page")}) message
        WHERE message.created_at <= start.until
    ) m
    {JOINS}
    WHERE m.place <= :page
    ORDER BY m.request, m.place
    """
)
"""Oldest first. `created_at` never decreases within a chat, so the messages of a chat are in order of seq."""

_AHEAD = text(
    f"""
    SELECT reached.request, reached.chat_id, reached.seq, first.created_at
    FROM unnest(
        CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])
    ) AS reached (request, user_id, chat_id, seq)
    {_CHAT.format(user="reached.user_id", chat="reached.chat_id")}
    CROSS JOIN LATERAL ({_UNDELIVERED.format(at="reached", limit=1)}) first
    """
)
"""The first message behind each cursor; none if there is no more."""

_CHANGED = text(
    f"""
    SELECT lost.user_id, {COLUMNS}
    FROM unnest(CAST(:users AS uuid[]), CAST(:lost AS float[])) AS lost (user_id, lost_s)
    CROSS JOIN LATERAL (
        SELECT id FROM chats
        WHERE user_lo = lost.user_id AND lo_changed_at > now() - make_interval(secs => lost.lost_s)
        UNION
        SELECT id FROM chats
        WHERE user_hi = lost.user_id AND hi_changed_at > now() - make_interval(secs => lost.lost_s)
        LIMIT :most
    ) c
    CROSS JOIN LATERAL (
        SELECT chat_id, seq, changed_at FROM changed_messages
        WHERE chat_id = c.id ORDER BY change DESC LIMIT :most
    ) changed
    JOIN chat_members own ON own.chat_id = c.id AND own.user_id = lost.user_id
    JOIN messages m ON m.chat_id = changed.chat_id AND m.seq = changed.seq
    {JOINS}
    WHERE changed.changed_at > now() - make_interval(secs => lost.lost_s) AND m.seq > own.cleared_seq
    ORDER BY m.chat_id, m.change
    LIMIT :most
    """
)
"""Changes whose publication may be lost; of very many, not all. The next `sync` returns what is left out."""
_CHANGES: Final = 1_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(slots=True)
class _Reading:
    """One request: what its page is read from, and what is left for later ones."""

    request: Request[CatchUp]
    cursors: dict[str, int] = field(default_factory=dict)
    """By chat, the seq after which the page is read."""
    until_us: int | None = None
    """Time of the first message in the chats that the page is not read from."""
    waiting: list[Ahead] = field(default_factory=list)
    """Chats that were looked up, and that the page is not read from."""
    chats_after: str | None = None
    rows: list[Row[Any]] = field(default_factory=list)
    """The page."""
    has_more: bool = False

    @property
    def command(self) -> CatchUp:
        """What is asked for."""
        return self.request.command

    @property
    def until(self) -> str:
        """`until_us` as Postgres reads it."""
        if self.until_us is None:
            return "infinity"
        return (_EPOCH + self.until_us * _MICROSECOND).isoformat()


def catch_up(conn: Connection, requests: Sequence[Request[CatchUp]], context: HandlerContext) -> Outcome:
    """Answer each socket with its next page."""
    readings = [
        _Reading(request, dict(request.command.after or {}), request.command.until_us) for request in requests
    ]
    _look_up(conn, [one for one in readings if one.command.after is None], context.page)
    _read_pages(conn, readings, context.page)
    _read_ahead(conn, [one for one in readings if one.has_more and one.command.keeps_cursors])
    outcome = Outcome()
    starting = [one.request for one in readings if one.command.after is None]
    tell_unread(conn, {request.user_id for request in starting}, outcome)
    _tell_changes(
        conn, [one for one in readings if one.command.after is None and one.command.lost_s], outcome
    )
    for reading in readings:
        outcome.succeed(reading.request, _page(reading))
    return outcome


def _tell_changes(conn: Connection, readings: Sequence[_Reading], outcome: Outcome) -> None:
    """Tell users again what has changed while publications may have been lost."""
    lost = {reading.request.user_id: reading.command.lost_s for reading in readings}
    if not lost:
        return
    params = {"users": array(lost), "lost": list(lost.values()), "most": _CHANGES}
    for row in conn.execute(_CHANGED, params):
        outcome.emit(row.user_id, MESSAGE_CHANGED, to_message(row))


def _look_up(conn: Connection, readings: Sequence[_Reading], page: int) -> None:
    """Find the chats with undelivered messages, and choose those that the page is read from."""
    if not readings:
        return
    params = {
        "requests": array(range(len(readings))),
        "users": array(reading.request.user_id for reading in readings),
        "chats_after": array(reading.command.chats_after or _BEFORE_ALL_CHATS for reading in readings),
        "chats": array(_CHATS if reading.command.keeps_cursors else _ALL_CHATS for reading in readings),
        "lost": [reading.command.lost_s for reading in readings],
    }
    for row in conn.execute(_LOOK_UP, params):
        reading = readings[row.request]
        reading.chats_after = row.last_chat
        if row.chat_id is not None:
            reading.waiting.append(_ahead(row))
    for reading in readings:
        _choose(reading, page)


def _choose(reading: _Reading, page: int) -> None:
    """Read the page from the chats that come first; from none while more are to be looked up."""
    if not reading.command.keeps_cursors:
        reading.cursors = {one.chat_id: one.seq for one in reading.waiting}
    elif reading.command.chats_after is None and reading.chats_after is None:
        in_order = sorted(reading.waiting, key=lambda one: one.at_us)
        reading.cursors = {one.chat_id: one.seq for one in in_order[:page]}
        reading.waiting = in_order[page:]
        reading.until_us = reading.waiting[0].at_us if reading.waiting else None


def _read_pages(conn: Connection, readings: Sequence[_Reading], page: int) -> None:
    """Read the messages of each page, and note how far it gets."""
    if any(reading.cursors for reading in readings):
        until = array(reading.until for reading in readings for _ in reading.cursors)
        for row in conn.execute(_PAGE, {**_cursor_columns(readings), "until": until, "page": page}):
            readings[row.request].rows.append(row)
    for reading in readings:
        reading.cursors |= {row.chat_id: row.seq for row in reading.rows}
        reading.has_more = reading.until_us is not None or len(reading.rows) == page


def _read_ahead(conn: Connection, readings: Sequence[_Reading]) -> None:
    """Find out where the chats of the page go on."""
    if any(reading.cursors for reading in readings):
        for row in conn.execute(_AHEAD, _cursor_columns(readings)):
            readings[row.request].waiting.append(_ahead(row))


def _cursor_columns(readings: Sequence[_Reading]) -> dict[str, str]:
    cursors = [
        (index, reading.request.user_id, chat_id, seq)
        for index, reading in enumerate(readings)
        for chat_id, seq in reading.cursors.items()
    ]
    return {
        "requests": array(index for index, _, _, _ in cursors),
        "users": array(user_id for _, user_id, _, _ in cursors),
        "chats": array(chat_id for _, _, chat_id, _ in cursors),
        "seqs": array(seq for _, _, _, seq in cursors),
    }


def _page(reading: _Reading) -> CatchUpPage:
    messages = [
        PendingMessage(Position(row.chat_id, row.seq), msgspec.Raw(msgspec.json.encode(to_message(row))))
        for row in reading.rows
    ]
    if reading.command.keeps_cursors:
        return CatchUpPage(messages, ahead=reading.waiting, chats_after=reading.chats_after)
    return CatchUpPage(messages, next=reading.cursors if reading.has_more else None)


def _ahead(row: Row[Any]) -> Ahead:
    return Ahead(row.chat_id, row.seq, (row.created_at - _EPOCH) // _MICROSECOND)
