"""Delivery receipts: moves the recipient's watermark over what their sockets have acked.

The watermark never jumps over a message that nobody acked: where a receipt starts behind a hole,
the missing messages are delivered again and the watermark waits.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from infra.wire.commands import ConfirmDelivery
from infra.wire.errors import ErrorCode
from infra.wire.events import MESSAGE_STATUS, Done, Message, MessageStatus, iso_ms
from workers.arrays import array
from workers.chats import Chat, Pair
from workers.members import lock_members, member_columns
from workers.messages import COLUMNS, JOINS, deliveries, to_message
from workers.requests import Outcome, Request
from workers.rules import Rules

_CONFIRM = """
    WITH held AS MATERIALIZED (
        SELECT
            w.chat_id, w.user_id, w.delivered_seq, w.read_seq, c.user_lo, c.user_hi,
            receipt.first, least(receipt.last, c.last_seq) AS last
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:users AS uuid[]),
            CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[])
        ) AS receipt (chat_id, user_id, first, last)
        JOIN chat_members w ON w.chat_id = receipt.chat_id AND w.user_id = receipt.user_id
        JOIN chats c ON c.id = w.chat_id
        ORDER BY w.chat_id, w.user_id
        FOR NO KEY UPDATE OF w {wait}
    ), moved AS (
        UPDATE chat_members w SET delivered_seq = held.last
        FROM held
        WHERE w.chat_id = held.chat_id AND w.user_id = held.user_id
            AND held.first <= held.delivered_seq + 1 AND held.last > held.delivered_seq
    )
    SELECT held.*, now() AS at FROM held
"""
_CONFIRM_NEXT = text(_CONFIRM.format(wait=""))
_TRY_CONFIRM_NEXT = text(_CONFIRM.format(wait="SKIP LOCKED"))
"""Moves the watermarks that a span goes on from. The others are returned as they are."""
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
"""The first gap that holds a message to the user: the later ones are looked at when it is closed.

Otherwise somebody who acks every second message could have all the others read and sent again each time.
"""
_ADVANCE = text(
    """
    UPDATE chat_members w SET delivered_seq = receipt.up_to
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[]), CAST(:up_tos AS bigint[]))
        AS receipt (chat_id, user_id, up_to)
    WHERE w.chat_id = receipt.chat_id AND w.user_id = receipt.user_id
        AND w.delivered_seq < receipt.up_to
    RETURNING w.chat_id, w.user_id, now() AS at
    """
)


Member = tuple[str, str]
"""Ids of a chat and of one of its two users."""
Span = tuple[int, int]
"""First and last seq."""


@dataclass(frozen=True, slots=True)
class _Receipt:
    chat: Chat
    user_id: str
    delivered_seq: int
    read_seq: int
    spans: list[tuple[int, int]]
    """What was acked, ascending."""


def confirm_deliveries(
    conn: Connection, requests: Sequence[Request[ConfirmDelivery]], rules: Rules
) -> Outcome:
    """Advance the watermarks as far as everything is confirmed, and tell the senders."""
    outcome = Outcome()
    acked: dict[Member, list[Span]] = defaultdict(list)
    for request in requests:
        acked[request.command.chat_id, request.user_id] += request.command.spans
    spans = {member: merge(parts) for member, parts in acked.items()}
    known, behind_holes = _confirm_next(conn, spans, rules, outcome)
    if behind_holes:
        known |= _confirm_behind_holes(conn, behind_holes, rules, outcome)
    for request in requests:
        if rules.patient or (request.command.chat_id, request.user_id) in known:
            outcome.succeed(request, Done())
        else:
            outcome.fail(request, ErrorCode.UNAVAILABLE)
    return outcome


def merge(spans: Iterable[Span]) -> list[Span]:
    """Return the same seqs in as few spans as there can be, ascending."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _confirm_next(
    conn: Connection, spans: Mapping[Member, list[Span]], rules: Rules, outcome: Outcome
) -> tuple[set[Member], dict[Member, list[Span]]]:
    """Advance where a span goes on from the watermark, as nearly all do; tell who is known, and the rest."""
    asked = {member: parts[0] for member, parts in spans.items() if parts}
    columns = {
        **member_columns(asked),
        "firsts": array(first for first, _ in asked.values()),
        "lasts": array(last for _, last in asked.values()),
    }
    known = set()
    behind_holes = {}
    for row in conn.execute(_CONFIRM_NEXT if rules.patient else _TRY_CONFIRM_NEXT, columns):
        chat_id, user_id, delivered_seq, read_seq, user_lo, user_hi, first, last, at = row
        member = (chat_id, user_id)
        known.add(member)
        goes_on = first <= delivered_seq + 1
        if goes_on and last > max(delivered_seq, read_seq):
            _tell(outcome, chat_id, user_id, Pair(user_lo, user_hi), last, iso_ms(at))
        if not goes_on or len(spans[member]) > 1:
            behind_holes[member] = spans[member]
    return known, behind_holes


def _confirm_behind_holes(
    conn: Connection, spans: Mapping[Member, list[Span]], rules: Rules, outcome: Outcome
) -> set[Member]:
    """Advance up to the first hole that holds a message to the user; deliver what is in it again."""
    receipts = _lock_receipts(conn, spans, rules)
    unconfirmed = _read_unconfirmed(conn, receipts.values(), rules.page_max)
    moved = {}
    for member, receipt in receipts.items():
        holes = unconfirmed[member]
        up_to = _advance(receipt, [message.seq for message in holes])
        outcome.emits += deliveries(message for message in holes if message.seq > up_to)
        if up_to > receipt.delivered_seq:
            moved[member] = (receipt, up_to)
    if moved:
        params = {**member_columns(moved), "up_tos": array(up_to for _, up_to in moved.values())}
        for row in conn.execute(_ADVANCE, params):
            receipt, up_to = moved[row.chat_id, row.user_id]
            if up_to > receipt.read_seq:
                _tell(outcome, row.chat_id, row.user_id, receipt.chat.pair, up_to, iso_ms(row.at))
    return set(receipts)


def _lock_receipts(
    conn: Connection, spans: Mapping[Member, list[Span]], rules: Rules
) -> dict[Member, _Receipt]:
    locked = lock_members(conn, spans.keys(), patient=rules.patient)
    return {
        member: _Receipt(
            Chat(row.chat_id, Pair(row.user_lo, row.user_hi), row.last_seq),
            row.user_id,
            row.delivered_seq,
            row.read_seq,
            spans[member],
        )
        for member, row in locked.items()
    }


def _gaps(receipt: _Receipt) -> list[tuple[int, int]]:
    """Return the stretches between the watermark and the acked spans that nobody acked."""
    gaps = []
    reached = receipt.delivered_seq
    for first, last in receipt.spans:
        if first > reached + 1:
            gaps.append((reached + 1, first - 1))
        reached = max(reached, last)
    return gaps


def _read_unconfirmed(
    conn: Connection, receipts: Collection[_Receipt], page: int
) -> Mapping[tuple[str, str], list[Message]]:
    """Read the messages to the user in the first gap that has any; the user's own need no confirmation."""
    gaps = [(receipt, gap) for receipt in receipts for gap in _gaps(receipt)]
    messages: dict[tuple[str, str], list[Message]] = defaultdict(list)
    if gaps:
        rows = conn.execute(
            _UNCONFIRMED,
            {
                "chats": array(receipt.chat.id for receipt, _ in gaps),
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
    """Return how far everything is confirmed: up to the last ack before the first hole."""
    hole = min(unconfirmed, default=receipt.chat.last_seq + 1)
    acked = [min(last, receipt.chat.last_seq) for first, last in receipt.spans if first < hole]
    return max([receipt.delivered_seq, *acked])


def _tell(outcome: Outcome, chat_id: str, user_id: str, pair: Pair, up_to: int, at: str) -> None:
    status = MessageStatus(chat_id=chat_id, user_id=user_id, status="delivered", up_to=up_to, at=at)
    outcome.emit(pair.peer_of(user_id), MESSAGE_STATUS, status)
