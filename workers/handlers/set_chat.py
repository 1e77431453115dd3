"""`accept_chat`, `decline_chat`, `set_chat`: what a chat is like for one user."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from infra.store.boxes import Box
from infra.wire.commands import AcceptChat, DeclineChat, SetChat
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import ChatAck
from workers.chats import read_chats, require_member
from workers.context import HandlerContext
from workers.members import to_own
from workers.outcome import Outcome
from workers.own_chats import Members, Sides, change_chats
from workers.requests import Request


def set_chats(
    conn: Connection, requests: Sequence[Request[AcceptChat | DeclineChat | SetChat]], context: HandlerContext
) -> Outcome:
    """Accept and decline message requests; mute, pin and archive chats."""
    outcome = Outcome()
    chats = read_chats(conn, {str(request.command.chat_id) for request in requests})
    asked = []
    for request in requests:
        with outcome.rejections(request):
            chat = require_member(chats, str(request.command.chat_id), request.user_id)
            asked.append((request, chat.id))
    change_chats(conn, asked, context, outcome, _change, _answer)
    return outcome


def _change(sides: Sides, request: Request[AcceptChat | DeclineChat | SetChat]) -> None:
    match request.command:
        case AcceptChat():
            _accept(sides, request.user_id)
        case DeclineChat():
            _decline(sides, request.user_id)
        case SetChat() as command:
            _set(sides, request.user_id, command)


def _accept(sides: Sides, user_id: str) -> None:
    """Let the other member write, whatever the user's settings are."""
    if not sides.boxes[user_id].is_open:
        sides.move(user_id, Box.INBOX)


def _decline(sides: Sides, user_id: str) -> None:
    """Let no more messages of a request in. A chat that was accepted cannot be declined."""
    if sides.boxes[user_id].is_open:
        raise Rejection(ErrorCode.NOT_ALLOWED, "This chat is not a message request.")
    sides.move(user_id, Box.DECLINED)


def _set(sides: Sides, user_id: str, command: SetChat) -> None:
    """Mute, pin and archive a chat. It is pinned or archived, not both."""
    box = sides.boxes[user_id]
    if command.pinned and command.archived:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "A chat can be pinned or archived, not both.")
    if (command.pinned or command.archived) and box in (Box.REQUESTS, Box.DECLINED):
        raise Rejection(ErrorCode.NOT_ALLOWED, "Accept the message request first.")
    if command.muted_until is not msgspec.UNSET:
        sides.mute(user_id, _utc(command.muted_until))
    if command.pinned:
        sides.move(user_id, Box.PINNED)
    elif command.archived:
        sides.move(user_id, Box.ARCHIVED)
    elif (command.pinned is False and box is Box.PINNED) or (
        command.archived is False and box is Box.ARCHIVED
    ):
        sides.move(user_id, Box.INBOX)


def _utc(moment: datetime | None) -> datetime | None:
    """Return a time in UTC, where the calendar may end sooner. Raises Rejection(invalid_payload)."""
    try:
        return moment and moment.astimezone(UTC)
    except OverflowError:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "`mutedUntil` is out of range.") from None


def _answer(sides: Sides, request: Request[Any], members: Members) -> ChatAck:
    return ChatAck(chat=to_own(members[sides.id, request.user_id]))
