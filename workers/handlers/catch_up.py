"""What a socket receives after it has connected: everything not yet delivered to its user, in pages.

First the chats with undelivered messages are looked up. That fixes where each chat starts, so that a socket
receives all of it even if another one acks faster. The edge keeps this list and asks for page after page with
the few chats that come next, so that the cost of a page does not depend on how many chats there are. An edge
that may have missed publications asks in the same way, for that period.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, text

from infra.wire.commands import CatchUp
from infra.wire.events import MESSAGE_CHANGED, Message
from infra.wire.inbox import Ahead, CatchUpPage, PendingMessage, Position
from workers.arrays import array
from workers.context import HandlerContext
from workers.messages import COLUMNS, JOINS, read_messages, to_message
from workers.outcome import Outcome
from workers.requests import Request
from workers.unread import tell_unread

_CHATS: Final = 1_000
"""Most chats of a user that one request looks at."""
_PAGES: Final = 4
"""As how many pages an answer may be long."""
_BYTES: Final = 200_000
"""Most bytes of texts and data in an answer with more than one message."""
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

_STORED = """
    SELECT chat_id, seq, created_at, octet_length(text) + coalesce(octet_length(data), 0) AS size
    FROM ({undelivered}) stored
"""
_PAGE = text(
    f"""
    WITH start AS MATERIALIZED (
        SELECT asked.*, chat.newest_seq
        FROM unnest(
            CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:until AS timestamptz[]),
            CAST(:most AS int[]), CAST(:portions AS int[]), CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])
        ) AS asked (request, user_id, until, most, portion, chat_id, seq)
        {_CHAT.format(user="asked.user_id", chat="asked.chat_id")}
    ), first AS MATERIALIZED (
        SELECT chat.request, chat.most, chat.until, message.*,
            row_number() OVER (PARTITION BY chat.request, message.chat_id ORDER BY message.seq) > chat.portion
                AS is_last,
            row_number() OVER (PARTITION BY chat.request ORDER BY message.created_at) AS place
        FROM start chat
        CROSS JOIN LATERAL (
            {_STORED.format(undelivered=_UNDELIVERED.format(at="chat", limit="chat.portion + 1"))}
        ) message
    ), found AS (
        SELECT request, most, until, chat_id, seq, created_at, size FROM first
        UNION ALL
        SELECT chat.request, chat.most, chat.until, message.*
        FROM (
            SELECT request, min(created_at) FILTER (WHERE place >= most) AS at FROM first GROUP BY request
        ) reached
        JOIN first ON first.request = reached.request AND first.is_last
            AND first.created_at <= least(reached.at, first.until)
        CROSS JOIN LATERAL (
            SELECT start.request, start.most, start.until, start.user_id, start.chat_id, first.seq,
                start.portion, start.newest_seq
            FROM start WHERE start.request = first.request AND start.chat_id = first.chat_id
        ) chat
        CROSS JOIN LATERAL (
            {_STORED.format(undelivered=_UNDELIVERED.format(at="chat", limit="chat.most - chat.portion"))}
        ) message
    ), placed AS (
        SELECT *, place <= most AND created_at <= until AND (before + size <= :bytes OR place = 1) AS is_in
        FROM (
            SELECT *, row_number() OVER w AS place, sum(size) OVER w - size AS before
            FROM found WINDOW w AS (PARTITION BY request ORDER BY created_at, chat_id, seq)
        ) found
    )
    SELECT request, chat_id, seq, created_at, is_in
    FROM (
        SELECT *, row_number() OVER (PARTITION BY request, chat_id, is_in ORDER BY seq) AS nth FROM placed
    ) placed
    WHERE is_in OR nth = 1
    ORDER BY request, place
    """
)
"""The next messages, oldest first, and where each chat goes on behind them.

`created_at` never decreases within a chat, so the messages of a chat are in order of seq.
A `portion` of each chat is read at first, and one more message, which says when the chat goes on. Only chats
that go on before the end of the page are read further: most of what is read is sent, in whatever order the
messages were written.
"""

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
    positions: list[tuple[str, int]] = field(default_factory=list)
    """The page: chat and seq of its messages."""
    going_on: list[Ahead] = field(default_factory=list)
    """Chats of the page that have more."""

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
    messages = read_messages(conn, [position for one in readings for position in one.positions])
    outcome = Outcome()
    starting = [one for one in readings if one.command.after is None and one.command.chats_after is None]
    tell_unread(conn, {one.request.user_id for one in starting}, outcome)
    _tell_changes(conn, [one for one in starting if one.command.lost_s], outcome)
    for reading in readings:
        outcome.succeed(reading.request, _page(reading, messages))
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
    """Find out which messages come next, and where the chats go on behind them."""
    asked = [
        (index, reading, min(reading.command.pages, _PAGES) * page, chat_id, seq)
        for index, reading in enumerate(readings)
        for chat_id, seq in reading.cursors.items()
    ]
    if not asked:
        return
    params = {
        "requests": array(index for index, _, _, _, _ in asked),
        "users": array(reading.request.user_id for _, reading, _, _, _ in asked),
        "until": array(reading.until for _, reading, _, _, _ in asked),
        "most": array(most for _, _, most, _, _ in asked),
        "portions": array(_portion(most, len(reading.cursors)) for _, reading, most, _, _ in asked),
        "chats": array(chat_id for _, _, _, chat_id, _ in asked),
        "seqs": array(seq for _, _, _, _, seq in asked),
        "bytes": _BYTES,
    }
    for row in conn.execute(_PAGE, params):
        reading = readings[row.request]
        if row.is_in:
            reading.positions.append((row.chat_id, row.seq))
        else:
            reading.going_on.append(Ahead(row.chat_id, row.seq - 1, _at_us(row)))
    for reading in readings:
        reading.cursors |= dict(reading.positions)


def _portion(most: int, chats: int) -> int:
    """Return how many messages of each chat are read at first, for a page of so many: twice its share."""
    return min(most, -(-2 * most // chats))


def _page(reading: _Reading, messages: Mapping[tuple[str, int], Message]) -> CatchUpPage:
    pending = [
        PendingMessage(Position(*position), msgspec.Raw(msgspec.json.encode(messages[position])))
        for position in reading.positions
        if position in messages
    ]
    if reading.command.keeps_cursors:
        ahead = [*reading.waiting, *reading.going_on]
        return CatchUpPage(pending, ahead=ahead, chats_after=reading.chats_after)
    return CatchUpPage(pending, next=reading.cursors if reading.going_on else None)


def _ahead(row: Row[Any]) -> Ahead:
    return Ahead(row.chat_id, row.seq, _at_us(row))


def _at_us(row: Row[Any]) -> int:
    at: datetime = row.created_at
    return (at - _EPOCH) // _MICROSECOND
