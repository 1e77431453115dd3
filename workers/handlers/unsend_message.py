"""`unsend_message`: takes an own message back."""

from collections.abc import Sequence

from sqlalchemy import Connection

from infra.store.reopening import REOPEN_NOTIFICATIONS
from infra.wire.commands import UnsendMessage
from workers.arrays import array
from workers.changes import MutableMessage, change_messages
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request


def unsend_messages(
    conn: Connection, requests: Sequence[Request[UnsendMessage]], context: HandlerContext
) -> Outcome:
    """Erase text, data and reactions of the messages. Their seqs stay."""
    unsent: list[UnsendMessage] = []

    def unsend(message: MutableMessage, request: Request[UnsendMessage]) -> None:
        message.require_own(request.user_id)
        if message.deleted_at is not None:
            return
        message.require_within(context.unsend_s)
        message.text, message.data, message.reactions = "", None, []
        message.deleted_at = message.now
        message.is_changed = True
        unsent.append(request.command)

    outcome = change_messages(conn, requests, context, unsend)
    if unsent:
        chats, seqs = array(str(one.chat_id) for one in unsent), array(one.seq for one in unsent)
        conn.execute(REOPEN_NOTIFICATIONS, {"chats": chats, "seqs": seqs})
    return outcome
