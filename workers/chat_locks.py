"""Locks all chats of a batch before its requests are handled, so that batches never wait for each other's."""

from typing import Final

from sqlalchemy import Connection, text

from workers.arrays import array
from workers.context import HandlerContext
from workers.handler_table import HANDLERS
from workers.new_messages import NAMED_CHAT, route
from workers.requests import Requests

_LOCK: Final = text(
    f"""
    SELECT FROM chats
    WHERE id IN (
        SELECT unnest(CAST(:chats AS uuid[]))
        UNION
        SELECT c.id
        FROM unnest(CAST(:senders AS uuid[]), CAST(:keys AS text[]), CAST(:user_ids AS uuid[]))
            AS tried (sender_id, key, user_id)
        {NAMED_CHAT}
    )
    ORDER BY id
    FOR NO KEY UPDATE
    """
)


def lock_chats(conn: Connection, requests: Requests, context: HandlerContext) -> None:
    """Lock the chats that several kinds of requests are about, in the order of their ids.

    Each kind locks those of its own requests in that order. Two batches of two kinds could still hold one
    chat each and wait for the other's. Nothing is locked where handlers skip what others have locked.
    """
    kinds = [same_kind for name, same_kind in requests.items() if HANDLERS[name].locks_chats]
    if len(kinds) < 2 or not context.patient:
        return
    asked = [request for same_kind in kinds for request in same_kind]
    routes = [route(request) for request in asked if not hasattr(request.command, "chat_id")]
    params = {
        "chats": array({request.command.chat_id for request in asked if hasattr(request.command, "chat_id")}),
        "senders": array(one.sender_id for one in routes),
        "keys": [one.key for one in routes],
        "user_ids": array(one.user_id for one in routes),
    }
    conn.execute(_LOCK, params)
