"""Replaces the text of a message: `edit_message` of an own one, `revise_message` of any."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from infra.wire.commands import EditMessage, ReviseMessage
from infra.wire.errors import ErrorCode, Rejection
from workers.changes import MutableMessage, change_messages
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.requests import Request
from workers.texts import check_text


def edit_messages(
    conn: Connection, requests: Sequence[Request[EditMessage]], context: HandlerContext
) -> Outcome:
    """Edit the messages, each request once if it has a `clientId`. Earlier texts are not kept.

    An edit to what a message already says is remembered too: its retry may come after a later edit.
    """

    def edit(message: MutableMessage, request: Request[EditMessage]) -> None:
        command = request.command
        message.require_own(request.user_id)
        key = command.client_id or request.id
        if key in message.client_ids:
            return
        message.require_not_unsent()
        if request.id in context.refusals:
            raise context.refusals[request.id]
        keeps_data = command.data is msgspec.UNSET
        data = message.data if keeps_data else command.data_text
        if "\0" in (command.client_id or ""):
            raise Rejection(ErrorCode.INVALID_PAYLOAD, "Text must not contain NUL characters.")
        check_text(command.text, context, has_data=data is not None)
        is_same = (command.text, data) == (message.text, message.data)
        if is_same and command.client_id is None:
            return
        message.require_welcome(request.user_id)
        message.require_within(context.edit_s)
        if not is_same:
            message.text, message.data = command.text, data
            message.edited_at = message.now
        message.remember(key)
        message.is_changed = True

    return change_messages(conn, requests, context, edit)


def revise_messages(
    conn: Connection, requests: Sequence[Request[ReviseMessage]], context: HandlerContext
) -> Outcome:
    """Edit the messages for the app's own backend: there is no block and no time limit."""

    def revise(message: MutableMessage, request: Request[ReviseMessage]) -> None:
        command = request.command
        if request.id in message.client_ids:
            return
        message.require_not_unsent()
        data = message.data if command.data is msgspec.UNSET else command.data_text
        check_text(command.text, context, has_data=data is not None)
        if (command.text, data) != (message.text, message.data):
            message.text, message.data, message.edited_at = command.text, data, message.now
            message.remember(request.id)
            message.is_changed = True

    return change_messages(conn, requests, context, revise, by_members=False)
