"""Erases what a message says: `unsend_message` an own one, `remove_message` any."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, text

from infra.wire.commands import RemoveMessage, UnsendMessage
from workers.arrays import array
from workers.changes import CommandT, MutableMessage, change_messages
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request

_REOPEN_NOTIFICATIONS = text(
    """
    WITH told AS MATERIALIZED (
        SELECT id FROM notifications
        WHERE (finished_at IS NULL OR sent_to <> '{}') AND id = ANY(ARRAY(
            SELECT n.id
            FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])) AS unsent (chat_id, seq)
            JOIN messages m ON m.chat_id = unsent.chat_id AND m.seq = unsent.seq
            JOIN chat_members w
                ON w.chat_id = m.chat_id AND w.user_id = m.recipient_id AND w.read_seq < m.seq
            JOIN notifications n
                ON n.user_id = m.recipient_id AND n.created_at > m.created_at - interval '1 hour'
            WHERE EXISTS (
                SELECT FROM unnest(n.chat_ids, n.first_seqs, n.last_seqs) AS span (chat_id, first, last)
                WHERE span.chat_id = m.chat_id AND m.seq BETWEEN span.first AND span.last
            )
        ))
        ORDER BY id
        FOR NO KEY UPDATE
    )
    UPDATE notifications n
    SET unsent_at = clock_timestamp(), to_replace = sent_to,
        outcome = CASE WHEN finished_at IS NULL THEN outcome ELSE 'sent' END,
        tries = CASE WHEN finished_at IS NULL THEN tries ELSE 0 END,
        next_at = CASE WHEN finished_at IS NULL THEN next_at ELSE now() END,
        finished_at = NULL
    FROM told
    WHERE n.id = told.id
    """
)
"""Has notifications replaced that tell of messages which their recipients have not read.

Those that nobody has sent yet are marked too: a worker may have read the texts, and be about to send them.
The hour is for the transaction that made a notification: it may have begun before the message was sent.
"""


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
        conn.execute(_REOPEN_NOTIFICATIONS, {"chats": chats, "seqs": seqs})
    return outcome
