"""Messages of the system: they pass blocks, message requests and settings, and open no chat.

They do not count as written by anybody: whoever had to ask before still has to, and sees no more.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from infra.store.boxes import BOX, Box
from infra.wire.commands import SendMessage
from infra.wire.events import Message
from workers.context import HandlerContext
from workers.new_messages import SendingStatement, as_sent
from workers.requests import Request

_SHOW = f"CASE c.{{side}}_box WHEN {Box.UNSEEN} THEN {Box.UNDECIDED} ELSE c.{{side}}_box END"
_ONLY_SYSTEM_UP_TO = """
    CASE
        WHEN c.last_to_{side} <= coalesce(c.system_to_{side}, 0)
            THEN coalesce(added.last_to_{side}, c.system_to_{side})
        ELSE c.system_to_{side}
    END
"""
_STORE = SendingStatement(
    kind_column=", kind",
    kind=", 'system'",
    kind_told=',"kind":"system"',
    gate_columns=f""",
            {BOX.format(chat="c", user="r.id")} AS box
        """,
    moves=", count(*) AS messages",
    set_boxes=f""",
            lo_box = {_SHOW.format(side="lo")}, hi_box = {_SHOW.format(side="hi")},
            system_messages = coalesce(c.system_messages, 0) + added.messages,
            system_to_lo = {_ONLY_SYSTEM_UP_TO.format(side="lo")},
            system_to_hi = {_ONLY_SYSTEM_UP_TO.format(side="hi")}""",
    hiding=f""", hiding AS (
        UPDATE chat_members w SET shown_delivered_seq = 0, shown_read_seq = 0
        FROM (
            SELECT DISTINCT chat_id, recipient_id FROM draft
            WHERE is_new AND box NOT BETWEEN {Box.INBOX} AND {Box.ARCHIVED}
        ) member
        WHERE w.chat_id = member.chat_id AND w.user_id = member.recipient_id AND w.shown_read_seq IS NULL
    )""",
)
"""Stores messages as `workers.new_messages` does. Both users see the chat, and receipts once it is open."""


def store_system_messages(
    conn: Connection, requests: Sequence[Request[SendMessage]], context: HandlerContext
) -> dict[str, Message | None]:
    """Store messages of the system that are new, as `store_messages` does."""
    if not requests:
        return {}
    tried = {request.id: request for request in requests}
    rows = _STORE.fetch(conn, requests, context)
    return {row[0]: as_sent(tried[row[0]], *row) for row in rows}
