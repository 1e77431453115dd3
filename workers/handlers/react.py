"""`react`: adds a reaction to a message, or takes it back."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from infra.wire.commands import React
from infra.wire.errors import ErrorCode, Rejection
from workers.changes import REACTION, MutableMessage, change_messages
from workers.context import HandlerContext
from workers.emoji import to_emoji
from workers.outcome import Outcome
from workers.requests import Request

REACTIONS: Final = 10
"""Most reactions of a user to a message."""


def react(conn: Connection, requests: Sequence[Request[React]], context: HandlerContext) -> Outcome:
    """Have each reaction be there, or not, as asked."""
    return change_messages(conn, requests, context, _react)


def _react(message: MutableMessage, request: Request[React]) -> None:
    reaction, key = [to_emoji(request.command.emoji), request.user_id], f"{REACTION}{request.id}"
    if key in message.client_ids:
        return
    message.require_not_unsent()
    if (reaction in message.reactions) == request.command.on:
        return
    message.require_welcome(request.user_id)
    if not request.command.on:
        message.reactions = [one for one in message.reactions if one != reaction]
    elif sum(user_id == request.user_id for _, user_id in message.reactions) < REACTIONS:
        message.reactions = [*message.reactions, reaction]
    else:
        too_many = f"A user can have {REACTIONS} reactions to a message."
        raise Rejection(ErrorCode.NOT_ALLOWED, too_many)
    message.remember(key)
    message.is_changed = True
