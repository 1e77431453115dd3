"""Locks the chats of a batch in one order, so that no two batches each hold one that the other waits for."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, text

from infra.store.boxes import BOX, Box
from infra.wire.commands import (
    BlockUser,
    JoinChat,
    MarkAsRead,
    RemoveMessage,
    ReviseMessage,
    SendMessage,
    UnblockUser,
)
from workers.arrays import array
from workers.context import HandlerContext
from workers.handler_table import HANDLERS
from workers.new_messages import route
from workers.requests import Request, Requests

_LOCK: Final = text(
    f"""
    SELECT FROM chats
    WHERE id = ANY(ARRAY(
        SELECT c.id
        FROM unnest(CAST(:chats AS uuid[]), CAST(:members AS uuid[])) AS asked (chat_id, member_id)
        JOIN chats c ON c.id = asked.chat_id
        WHERE asked.member_id IS NULL OR asked.member_id IN (c.user_lo, c.user_hi)
        UNION
        SELECT c.id
        FROM (
            SELECT asked.user_id, asked.is_join, coalesce(
                asked.peer_id, (SELECT id FROM profiles WHERE username_key = asked.peer_key)
            ) AS peer_id
            FROM unnest(
                CAST(:users AS uuid[]), CAST(:peer_ids AS uuid[]), CAST(:peer_keys AS text[]),
                CAST(:are_joins AS bool[])
            ) AS asked (user_id, peer_id, peer_key, is_join)
        ) pair
        JOIN chats c ON c.user_lo = least(pair.user_id, pair.peer_id)
            AND c.user_hi = greatest(pair.user_id, pair.peer_id)
        WHERE pair.peer_id IS NOT NULL
            AND (NOT pair.is_join OR {BOX.format(chat="c", user="pair.user_id")} = {Box.UNSEEN})
    ))
    ORDER BY id
    FOR NO KEY UPDATE
    """
)
"""A join locks only a chat that its user does not see yet. Nobody locks chats of others."""


def lock_chats(conn: Connection, requests: Requests, context: HandlerContext) -> None:
    """Lock the chats that requests of several kinds will lock, in the order of their ids.

    To be called in a transaction, before the first of these is handled. Requests of one kind lock their chats
    in that order themselves, except for messages that the hook refuses. Without patience, handlers skip what
    others have locked, so that no batch waits.
    """
    asked = [
        request for name, same_kind in requests.items() if HANDLERS[name].locks_chats for request in same_kind
    ]
    is_mixed = len({type(request.command) for request in asked}) > 1
    if context.patient and (is_mixed or context.refusals):
        _lock(conn, asked)


def _lock(conn: Connection, asked: Sequence[Request[Any]]) -> None:
    by_id: set[tuple[str, str | None]] = set()
    by_peer: list[Request[Any]] = []
    for request in asked:
        match request.command:
            case MarkAsRead():
                pass  # locks only chats that are free
            case SendMessage() | JoinChat() | BlockUser() | UnblockUser():
                by_peer.append(request)
            case ReviseMessage() | RemoveMessage() as command:
                by_id.add((str(command.chat_id), None))
            case command:
                by_id.add((str(command.chat_id), request.user_id))
    if not by_id and not by_peer:
        return
    routes = [route(request) for request in by_peer]
    conn.execute(
        _LOCK,
        {
            "chats": array(chat_id for chat_id, _ in by_id),
            "members": array(member_id for _, member_id in by_id),
            "users": array(one.sender_id for one in routes),
            "peer_ids": array(one.user_id for one in routes),
            "peer_keys": [one.key for one in routes],
            "are_joins": [isinstance(request.command, JoinChat) for request in by_peer],
        },
    )
