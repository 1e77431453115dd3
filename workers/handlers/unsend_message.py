"""Erases what a message says: `unsend_message` an own one, `remove_message` any."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from infra.store.reopening import REOPEN_NOTIFICATIONS
from infra.wire.commands import RemoveMessage, UnsendMessage
from workers.arrays import array
from workers.changes import CommandT, MutableMessage, change_messages
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request


def unsend_messages(
    conn: Connection, requests: Sequence[Request[UnsendMessage]], context: HandlerContext
) -> Outcome:
    """Erase text, data and reactions of the messages. Their seqs stay."""

    def require(message: MutableMessage, request: Request[UnsendMessage]) -> None:
        message.require_own(request.user_id)
        if message.deleted_at is None:
            message.require_within(context.unsend_s)

    return _erase(conn, requests, context, require, by_members=True)


def remove_messages(
    conn: Connection, requests: Sequence[Request[RemoveMessage]], context: HandlerContext
) -> Outcome:
    """Do the same for the app's own backend, with any message."""
    return _erase(conn, requests, context, lambda message, request: None, by_members=False)


def _erase(
    conn: Connection,
    requests: Sequence[Request[CommandT]],
    context: HandlerContext,
    require: Callable[[MutableMessage, Request[CommandT]], None],
    *,
    by_members: bool,
) -> Outcome:
    """Erase the messages for which `require` raises no Rejection."""
    unsent: list[CommandT] = []

    def erase(message: MutableMessage, request: Request[CommandT]) -> None:
        require(message, request)
        if message.deleted_at is not None:
            return
        message.text, message.data, message.reactions = "", None, []
        message.deleted_at = message.now
        message.is_changed = True
        unsent.append(request.command)

    outcome = change_messages(conn, requests, context, erase, by_members=by_members)
    if unsent:
        chats, seqs = array(str(one.chat_id) for one in unsent), array(one.seq for one in unsent)
        conn.execute(REOPEN_NOTIFICATIONS, {"chats": chats, "seqs": seqs})
    return outcome
