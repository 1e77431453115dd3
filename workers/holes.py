"""Receipts that begin behind a hole: the messages in it are delivered again, and the watermark waits."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from infra.store.outbox import ISO_MS, insertion
from infra.wire.events import Message, iso_ms
from infra.wire.webhooks import MESSAGE_DELIVERED
from workers.arrays import array
from workers.chats import Pair
from workers.context import HandlerContext
from workers.members import Member, lock_members, member_columns, tell_delivered
from workers.messages import COLUMNS, JOINS, deliveries, to_message
from workers.outcome import Outcome

_UNCONFIRMED = text(
    f"""
    WITH hole AS MATERIALIZED (
        SELECT DISTINCT ON (gap.chat_id, gap.user_id) gap.chat_id, gap.user_id, message.seq AS first, gap.last
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:users AS uuid[]),
            CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[])
        ) AS gap (chat_id, user_id, first, last)
        CROSS JOIN LATERAL (
            SELECT seq FROM messages
            WHERE chat_id = gap.chat_id AND seq BETWEEN gap.first AND gap.last
                AND recipient_id = gap.user_id
            ORDER BY seq LIMIT 1
        ) message
        ORDER BY gap.chat_id, gap.user_id, gap.first
    ), m AS MATERIALIZED (
        SELECT message.*
        FROM hole
        CROSS JOIN LATERAL (
            SELECT * FROM messages
            WHERE chat_id = hole.chat_id AND seq BETWEEN hole.first AND hole.last
                AND recipient_id = hole.user_id
            ORDER BY seq LIMIT :page
        ) message
    )
    SELECT {COLUMNS}
    FROM m
    {JOINS}
    ORDER BY m.chat_id, m.seq
    """
)
"""Reads the first gap that holds a message to the user. Later gaps follow once it is closed.

Otherwise a client that acks every second message would make us read and send all the others each time.
"""
_ADVANCE = """
    UPDATE chat_members w SET delivered_seq = receipt.up_to
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[]), CAST(:up_tos AS bigint[]))
        AS receipt (chat_id, user_id, up_to)
    WHERE w.chat_id = receipt.chat_id AND w.user_id = receipt.user_id
        AND w.delivered_seq < receipt.up_to
    RETURNING w.chat_id, w.user_id, w.read_seq, receipt.up_to, now() AS at
"""


def delivered(*, up_to: str, source: str) -> str:
    """Return a statement, for a CTE, that tells the app's backend how far members have received messages."""
    return insertion(
        MESSAGE_DELIVERED,
        key=f"chat_id || '/' || user_id || '/' || {up_to}",
        about="chat_id",
        body=f"""
            CAST(json_build_object(
                'chatId', chat_id, 'userId', user_id, 'status', 'delivered', 'upTo', {up_to},
                'at', {ISO_MS.format(moment="now()")}
            ) AS text)
        """,
        source=source,
    )


_ADVANCE_SILENTLY = text(_ADVANCE)
_ADVANCE_AND_TELL = text(
    f"""
    WITH moved AS ({_ADVANCE}), told AS ({delivered(up_to="up_to", source="moved WHERE up_to > read_seq")})
    SELECT chat_id, user_id, at FROM moved
    """
)
Span = tuple[int, int]
"""First and last seq."""


@dataclass(frozen=True, slots=True)
class _Receipt:
    """What one member has acked in a chat."""

    chat_id: str
    pair: Pair
    last_seq: int
    user_id: str
    delivered_seq: int
    read_seq: int
    tells_delivered: bool
    """Whether the sender is to know."""
    spans: list[Span]
    """Ascending."""


def confirm_behind_holes(
    conn: Connection, spans: Mapping[Member, list[Span]], context: HandlerContext, outcome: Outcome
) -> set[Member]:
    """Advance up to the first hole that holds a message to the user, and deliver the messages in it again.

    Returns the members that exist and are not skipped.
    """
    receipts = _lock_receipts(conn, spans, context)
    unconfirmed = _read_unconfirmed(conn, receipts.values(), context.page_max)
    moved = {}
    for member, receipt in receipts.items():
        holes = unconfirmed[member]
        up_to = _advance(receipt, [message.seq for message in holes])
        outcome.emits += deliveries(message for message in holes if message.seq > up_to)
        if up_to > receipt.delivered_seq:
            moved[member] = (receipt, up_to)
    if moved:
        params = {**member_columns(moved), "up_tos": array(up_to for _, up_to in moved.values())}
        endpoints = context.webhooks.get(MESSAGE_DELIVERED, ())
        statement = _ADVANCE_AND_TELL if endpoints else _ADVANCE_SILENTLY
        for row in conn.execute(statement, {**params, "endpoints": [*endpoints]}):
            receipt, up_to = moved[row.chat_id, row.user_id]
            if up_to > receipt.read_seq and receipt.tells_delivered:
                tell_delivered(outcome, row.chat_id, row.user_id, receipt.pair, up_to, iso_ms(row.at))
    return set(receipts)


def _lock_receipts(
    conn: Connection, spans: Mapping[Member, list[Span]], context: HandlerContext
) -> dict[Member, _Receipt]:
    locked = lock_members(conn, spans.keys(), context)
    return {
        member: _Receipt(
            row.chat_id,
            Pair(row.user_lo, row.user_hi),
            row.last_seq,
            row.user_id,
            row.delivered_seq,
            row.read_seq,
            row.tells_delivered,
            spans[member],
        )
        for member, row in locked.items()
    }


def _gaps(receipt: _Receipt) -> list[Span]:
    """Return the gaps between the watermark and the acked spans."""
    gaps = []
    reached = receipt.delivered_seq
    for first, last in receipt.spans:
        if first > reached + 1:
            gaps.append((reached + 1, first - 1))
        reached = max(reached, last)
    return gaps


def _read_unconfirmed(
    conn: Connection, receipts: Collection[_Receipt], page: int
) -> Mapping[Member, list[Message]]:
    """Read the messages to the user in the first gap that has any; their own messages need no receipt."""
    gaps = [(receipt, gap) for receipt in receipts for gap in _gaps(receipt)]
    messages: dict[Member, list[Message]] = defaultdict(list)
    if gaps:
        rows = conn.execute(
            _UNCONFIRMED,
            {
                "chats": array(receipt.chat_id for receipt, _ in gaps),
                "users": array(receipt.user_id for receipt, _ in gaps),
                "firsts": array(first for _, (first, _) in gaps),
                "lasts": array(last for _, (_, last) in gaps),
                "page": page,
            },
        )
        for row in rows:
            messages[row.chat_id, row.recipient_id].append(to_message(row))
    return messages


def _advance(receipt: _Receipt, unconfirmed: Sequence[int]) -> int:
    """Return the seq up to which all messages are confirmed: the last ack before the first hole."""
    hole = min(unconfirmed, default=receipt.last_seq + 1)
    acked = [min(last, receipt.last_seq) for first, last in receipt.spans if first < hole]
    return max([receipt.delivered_seq, *acked])
