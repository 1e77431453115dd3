"""Delivery receipts: moves the recipient's watermark over what their sockets have acked.

The watermark never jumps over a message that nobody acked: where a receipt starts behind a hole,
the missing messages are delivered again and the watermark waits.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
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

_UNCONFIRMED = text(
    f"""
    WITH m AS MATERIALIZED (
        SELECT message.*
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:users AS uuid[]),
            CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[])
        ) AS hole (chat_id, user_id, first, last)
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
    receipts = _lock_receipts(conn, requests, rules)
    unconfirmed = _read_unconfirmed(conn, receipts.values(), rules.page_max)
    moved = {}
    for receipt in receipts.values():
        holes = unconfirmed[receipt.chat.id, receipt.user_id]
        up_to = _advance(receipt, [message.seq for message in holes])
        outcome.emits += deliveries(message for message in holes if message.seq > up_to)
        if up_to > receipt.delivered_seq:
            moved[receipt.chat.id, receipt.user_id] = (receipt, up_to)
    if moved:
        params = {**member_columns(moved), "up_tos": array(up_to for _, up_to in moved.values())}
        for row in conn.execute(_ADVANCE, params):
            receipt, up_to = moved[row.chat_id, row.user_id]
            if up_to > receipt.read_seq:
                _tell(outcome, receipt, up_to, iso_ms(row.at))
    for request in requests:
        if rules.patient or (request.command.chat_id, request.user_id) in receipts:
            outcome.succeed(request, Done())
        else:
            outcome.fail(request, ErrorCode.UNAVAILABLE)
    return outcome


def _lock_receipts(
    conn: Connection, requests: Sequence[Request[ConfirmDelivery]], rules: Rules
) -> dict[tuple[str, str], _Receipt]:
    spans: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for request in requests:
        command = request.command
        spans[command.chat_id, request.user_id] += command.spans
    locked = lock_members(conn, spans.keys(), patient=rules.patient)
    return {
        member: _Receipt(
            Chat(row.chat_id, Pair(row.user_lo, row.user_hi), row.last_seq),
            row.user_id,
            row.delivered_seq,
            row.read_seq,
            sorted(spans[member]),
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
    """Read the messages to the user that lie in gaps; the user's own need no confirmation."""
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


def _tell(outcome: Outcome, receipt: _Receipt, up_to: int, at: str) -> None:
    status = MessageStatus(
        chat_id=receipt.chat.id,
        user_id=receipt.user_id,
        status="delivered",
        up_to=up_to,
        at=at,
    )
    outcome.emit(receipt.chat.peer_of(receipt.user_id), MESSAGE_STATUS, status)
