"""What a socket receives after it has connected: everything not yet delivered to its user, in pages.

The first page fixes where each chat starts, so that a socket receives all of it even if another one acks
faster. An edge that may have missed publications asks in the same way, for that period.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, text

from infra.wire.commands import CatchUp
from infra.wire.inbox import CatchUpPage, PendingMessage, Position
from workers.arrays import array
from workers.context import HandlerContext
from workers.messages import COLUMNS, JOINS, to_message
from workers.outcome import Outcome
from workers.requests import Request

_STARTS = text(
    """
    SELECT asked.request, mine.chat_id, start.seq
    FROM unnest(CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:lost AS float[]))
        AS asked (request, user_id, lost_s)
    JOIN chat_members mine ON mine.user_id = asked.user_id
    JOIN chats c ON c.id = mine.chat_id
    LEFT JOIN LATERAL (
        SELECT min(newest.seq) - 1 AS seq
        FROM (SELECT seq, created_at FROM messages WHERE chat_id = c.id ORDER BY seq DESC LIMIT 1000) newest
        WHERE newest.created_at > now() - make_interval(secs => asked.lost_s)
    ) lost ON c.activity_at > now() - make_interval(secs => asked.lost_s)
    CROSS JOIN LATERAL (SELECT least(mine.delivered_seq, lost.seq) AS seq) start
    WHERE coalesce(CASE mine.user_id WHEN c.user_lo THEN c.last_to_lo ELSE c.last_to_hi END, c.last_seq)
        > start.seq
    """
)
"""For each chat with messages that are not delivered, or may be lost: the seq before the first of them."""

_PAGE = text(
    f"""
    SELECT m.request, {COLUMNS}
    FROM (
        SELECT start.request, message.*, row_number() OVER (
            PARTITION BY start.request ORDER BY message.created_at, message.chat_id, message.seq
        ) AS place
        FROM unnest(
            CAST(:requests AS int[]), CAST(:users AS uuid[]), CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])
        ) AS start (request, user_id, chat_id, seq)
        CROSS JOIN LATERAL (
            SELECT * FROM messages
            WHERE chat_id = start.chat_id AND seq > start.seq AND recipient_id = start.user_id
            ORDER BY seq LIMIT :page
        ) message
    ) m
    {JOINS}
    WHERE m.place <= :page
    ORDER BY m.request, m.place
    """
)
"""Oldest first. `created_at` never decreases within a chat, so the messages of a chat are in order of seq."""

Starts = dict[str, int]


def catch_up(conn: Connection, requests: Sequence[Request[CatchUp]], context: HandlerContext) -> Outcome:
    """Answer each socket with its next page."""
    outcome = Outcome()
    starts = _read_starts(conn, requests)
    pages = _read_pages(conn, requests, starts, context.page)
    for index, request in enumerate(requests):
        rows = pages[index]
        reached = {**starts[index], **{row.chat_id: row.seq for row in rows}}
        page = CatchUpPage(
            messages=[
                PendingMessage(
                    Position(row.chat_id, row.seq), msgspec.Raw(msgspec.json.encode(to_message(row)))
                )
                for row in rows
            ],
            next=reached if len(rows) == context.page else None,
        )
        outcome.succeed(request, page)
    return outcome


def _read_starts(conn: Connection, requests: Sequence[Request[CatchUp]]) -> list[Starts]:
    """Return for each request, by chat, the seq after which to continue."""
    starts: list[Starts] = [dict(request.command.after or {}) for request in requests]
    first = [index for index, request in enumerate(requests) if request.command.after is None]
    if first:
        params = {
            "requests": array(first),
            "users": array(requests[index].user_id for index in first),
            "lost": [requests[index].command.lost_s for index in first],
        }
        for row in conn.execute(_STARTS, params):
            starts[row.request][row.chat_id] = row.seq
    return starts


def _read_pages(
    conn: Connection, requests: Sequence[Request[CatchUp]], starts: Sequence[Starts], page: int
) -> dict[int, list[Row[Any]]]:
    """Return the messages of each request's page, by its index."""
    pages: dict[int, list[Row[Any]]] = defaultdict(list)
    wanted = [(index, chat_id, seq) for index, chats in enumerate(starts) for chat_id, seq in chats.items()]
    if wanted:
        params = {
            "requests": array(index for index, _, _ in wanted),
            "users": array(requests[index].user_id for index, _, _ in wanted),
            "chats": array(chat_id for _, chat_id, _ in wanted),
            "seqs": array(seq for _, _, seq in wanted),
            "page": page,
        }
        for row in conn.execute(_PAGE, params):
            pages[row.request].append(row)
    return pages
