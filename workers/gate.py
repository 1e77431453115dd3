"""Messages in chats that are not open: blocks, strangers, message requests. The storing statement decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from infra.store.boxes import BOX, IS_BLOCKED, REQUEST_MESSAGES, UNDECIDED, Box
from infra.wire.commands import SendMessage
from infra.wire.events import Message
from workers.context import HandlerContext
from workers.members import Member
from workers.new_messages import SendingStatement, as_sent
from workers.refusals import NOT_REFUSED
from workers.requests import Request

_STORE_AT_GATE = SendingStatement(
    gate="",
    gate_columns=f""",
            {BOX.format(chat="c", user="r.id")} AS box, {BOX.format(chat="c", user="s.id")} AS own_box,
            {IS_BLOCKED.format(chat="c")} AS is_blocked, r.messages_from, c.refused,
            coalesce(c.system_messages, 0) AS system_messages
        """,
    may=f""" AND NOT is_blocked AND {NOT_REFUSED.format(request="routed.id", chat="routed")} AND CASE
                WHEN box BETWEEN {Box.INBOX} AND {Box.ARCHIVED} THEN true
                WHEN box IN {UNDECIDED} AND messages_from = 'everyone' THEN true
                WHEN box <> {Box.DECLINED} AND messages_from <> 'nobody' THEN
                    last_seq - system_messages + count(*) FILTER (WHERE stored.id IS NULL) OVER (
                        PARTITION BY chat_id, routed.sender_id ORDER BY place
                    ) <= {REQUEST_MESSAGES}
                ELSE false
            END""",
    set_boxes=f""",
            lo_box = CASE
                WHEN c.lo_box BETWEEN {Box.INBOX} AND {Box.ARCHIVED} THEN c.lo_box
                WHEN added.lo_wrote THEN {Box.INBOX}
                WHEN c.lo_box NOT IN {UNDECIDED} THEN c.lo_box
                WHEN added.is_request THEN {Box.REQUESTS}
                ELSE {Box.INBOX}
            END,
            hi_box = CASE
                WHEN c.hi_box BETWEEN {Box.INBOX} AND {Box.ARCHIVED} THEN c.hi_box
                WHEN added.hi_wrote THEN {Box.INBOX}
                WHEN c.hi_box NOT IN {UNDECIDED} THEN c.hi_box
                WHEN added.is_request THEN {Box.REQUESTS}
                ELSE {Box.INBOX}
            END""",
    moves=""",
                bool_or(sender_id <= recipient_id) AS lo_wrote,
                bool_or(sender_id >= recipient_id) AS hi_wrote,
                bool_or(messages_from = 'requests') AS is_request""",
    hiding=f""", hiding AS (
        UPDATE chat_members w SET shown_delivered_seq = member.shown_seq, shown_read_seq = member.shown_seq
        FROM (
            SELECT chat_id, user_id, CASE WHEN bool_or(is_open) THEN NULL ELSE 0 END AS shown_seq
            FROM (
                SELECT chat_id, sender_id AS user_id, true AS is_open
                FROM draft WHERE is_new AND own_box NOT BETWEEN {Box.INBOX} AND {Box.ARCHIVED}
                UNION ALL
                SELECT chat_id, recipient_id, messages_from <> 'requests'
                FROM draft WHERE is_new AND box IN {UNDECIDED}
            ) moved
            GROUP BY chat_id, user_id
        ) member
        WHERE w.chat_id = member.chat_id AND w.user_id = member.user_id
            AND w.shown_read_seq IS DISTINCT FROM member.shown_seq
    )""",
    gate_answer=", is_stored, box, own_box, messages_from",
)
"""Stores messages as `workers.new_messages` does, but asks what the recipient wants, and moves the chat.

A message that may not pass is neither new nor stored. Receipts of a recipient are hidden until they write.
"""


@dataclass(slots=True)
class AtGate:
    """What became of messages in chats that are not open."""

    stored: dict[str, Message | None] = field(default_factory=dict)
    """By request; None for those stored before."""
    refused: dict[str, str] = field(default_factory=dict)
    """The requests that may not pass, with their chats."""
    moved: set[Member] = field(default_factory=set)
    """Those for whom the chat is another one now: a request came in, or was answered."""


def store_at_gate(
    conn: Connection, requests: Sequence[Request[SendMessage]], context: HandlerContext
) -> AtGate:
    """Store new messages if their recipients let them pass.

    Requests whose locked chat was skipped have no entry.
    """
    result = AtGate()
    if not requests:
        return result
    tried = {request.id: request for request in requests}
    for *row, is_stored, box, own_box, messages_from in _STORE_AT_GATE.fetch(conn, requests, context):
        message_id, chat_id, _, _, recipient_id, _, _, is_new = row
        request = tried[message_id]
        if not is_new and not is_stored:
            result.refused[message_id] = chat_id
            continue
        result.stored[message_id] = as_sent(request, *row)
        if is_new and Box(own_box) in (Box.REQUESTS, Box.DECLINED):
            result.moved.add((chat_id, request.user_id))
        if is_new and Box(box) in (Box.UNDECIDED, Box.UNSEEN) and messages_from == "requests":
            result.moved.add((chat_id, recipient_id))
    return result
