"""Delivery receipts: moves the recipient's watermark over the messages that their sockets have acked.

The watermark never jumps over a message that nobody acked (`workers.holes`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from infra.wire.commands import ConfirmDelivery
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import Done, iso_ms
from infra.wire.webhooks import MESSAGE_DELIVERED
from workers.arrays import array
from workers.chats import Pair
from workers.context import HandlerContext
from workers.holes import Span, confirm_behind_holes, delivered
from workers.locking import LockingStatement
from workers.members import Member, member_columns, tell_delivered
from workers.outcome import Outcome
from workers.requests import Request

_CONFIRM_NEXT = """
    WITH held AS MATERIALIZED (
        SELECT
            w.chat_id, w.user_id, w.delivered_seq, w.read_seq, c.user_lo, c.user_hi,
            receipt.first, least(receipt.last, c.last_seq) AS last,
            w.shown_delivered_seq IS NULL AS tells_delivered
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:users AS uuid[]),
            CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[])
        ) AS receipt (chat_id, user_id, first, last)
        JOIN chat_members w ON w.chat_id = receipt.chat_id AND w.user_id = receipt.user_id
        JOIN chats c ON c.id = w.chat_id
        ORDER BY w.chat_id, w.user_id
        FOR NO KEY UPDATE OF w {{skip_locked}}
    ), moved AS (
        UPDATE chat_members w SET delivered_seq = held.last
        FROM held
        WHERE w.chat_id = held.chat_id AND w.user_id = held.user_id
            AND held.first <= held.delivered_seq + 1 AND held.last > held.delivered_seq
    ){told}
    SELECT held.*, now() AS at FROM held
"""
"""Moves each watermark that a span continues. The others are returned unchanged."""
_CONFIRM_SILENTLY = LockingStatement(_CONFIRM_NEXT.format(told=""))
_CONFIRM_AND_TELL = LockingStatement(
    _CONFIRM_NEXT.format(
        told=", told AS ({})".format(
            delivered(
                up_to="last",
                source="""
                    held WHERE first <= delivered_seq + 1 AND last > greatest(delivered_seq, read_seq)
                    ORDER BY chat_id, user_id
                """,
            )
        )
    )
)


def confirm_deliveries(
    conn: Connection, requests: Sequence[Request[ConfirmDelivery]], context: HandlerContext
) -> Outcome:
    """Advance the watermarks as far as everything is confirmed, and tell the senders."""
    outcome = Outcome()
    acked: dict[Member, list[Span]] = defaultdict(list)
    for request in requests:
        acked[request.command.chat_id, request.user_id] += request.command.spans
    spans = {member: merge(parts) for member, parts in acked.items()}
    known, behind_holes = _confirm_next(conn, spans, context, outcome)
    if behind_holes:
        known |= confirm_behind_holes(conn, behind_holes, context, outcome)
    for request in requests:
        if context.patient or (request.command.chat_id, request.user_id) in known:
            outcome.succeed(request, Done())
        else:
            outcome.reject(request, Rejection(ErrorCode.UNAVAILABLE))
    return outcome


def merge(spans: Iterable[Span]) -> list[Span]:
    """Return the same seqs in as few spans as possible, ascending."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _confirm_next(
    conn: Connection, spans: Mapping[Member, list[Span]], context: HandlerContext, outcome: Outcome
) -> tuple[set[Member], dict[Member, list[Span]]]:
    """Advance where a span continues from the watermark, as nearly all do.

    Returns the members that exist and are not skipped, and the spans that are left.
    """
    asked = {member: parts[0] for member, parts in spans.items() if parts}
    columns = {
        **member_columns(asked),
        "firsts": array(first for first, _ in asked.values()),
        "lasts": array(last for _, last in asked.values()),
    }
    known = set()
    behind_holes = {}
    endpoints = context.webhooks.get(MESSAGE_DELIVERED, ())
    statement = _CONFIRM_AND_TELL if endpoints else _CONFIRM_SILENTLY
    for row in statement.fetch(conn, context, {**columns, "endpoints": [*endpoints]}):
        chat_id, user_id, delivered_seq, read_seq, user_lo, user_hi, first, last, tells_delivered, at = row
        member = (chat_id, user_id)
        known.add(member)
        continues = first <= delivered_seq + 1
        if continues and last > max(delivered_seq, read_seq) and tells_delivered:
            tell_delivered(outcome, chat_id, user_id, Pair(user_lo, user_hi), last, iso_ms(at))
        if not continues or len(spans[member]) > 1:
            behind_holes[member] = spans[member]
    return known, behind_holes
