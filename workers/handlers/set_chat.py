"""`accept_chat`, `decline_chat`, `set_chat`: what a chat is like for one user."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

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


class _OfChat(Protocol):
    @property
    def chat_id(self) -> UUID: ...


CommandT = TypeVar("CommandT", bound=_OfChat)


def accept_chats(
    conn: Connection, requests: Sequence[Request[AcceptChat]], context: HandlerContext
) -> Outcome:
    """Let the other member of each chat write, whatever the user's settings are."""

    def accept(sides: Sides, request: Request[AcceptChat]) -> None:
        if not sides.boxes[request.user_id].is_open:
            sides.move(request.user_id, Box.INBOX)

    return _change(conn, requests, context, accept)


def decline_chats(
    conn: Connection, requests: Sequence[Request[DeclineChat]], context: HandlerContext
) -> Outcome:
    """Let no more messages of the requests in. A chat that was accepted cannot be declined."""

    def decline(sides: Sides, request: Request[DeclineChat]) -> None:
        if sides.boxes[request.user_id].is_open:
            raise Rejection(ErrorCode.NOT_ALLOWED, "This chat is no message request.")
        sides.move(request.user_id, Box.DECLINED)

    return _change(conn, requests, context, decline)


def set_chats(conn: Connection, requests: Sequence[Request[SetChat]], context: HandlerContext) -> Outcome:
    """Mute, pin and archive the chats. A chat is pinned or archived, not both."""
    return _change(conn, requests, context, _set)


def _set(sides: Sides, request: Request[SetChat]) -> None:
    command, box = request.command, sides.boxes[request.user_id]
    if command.pinned and command.archived:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "A chat can be pinned or archived, not both.")
    if (command.pinned or command.archived) and box in (Box.REQUESTS, Box.DECLINED):
        raise Rejection(ErrorCode.NOT_ALLOWED, "Accept the message request first.")
    if command.muted_until is not msgspec.UNSET:
        sides.mute(request.user_id, _utc(command.muted_until))
    if command.pinned:
        sides.move(request.user_id, Box.PINNED)
    elif command.archived:
        sides.move(request.user_id, Box.ARCHIVED)
    elif (command.pinned is False and box is Box.PINNED) or (
        command.archived is False and box is Box.ARCHIVED
    ):
        sides.move(request.user_id, Box.INBOX)


def _utc(moment: datetime | None) -> datetime | None:
    """Return a time in UTC, where the calendar may end sooner. Raises Rejection(invalid_payload)."""
    try:
        return moment and moment.astimezone(UTC)
    except OverflowError:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "`mutedUntil` is out of range.") from None


def _change(
    conn: Connection,
    requests: Sequence[Request[CommandT]],
    context: HandlerContext,
    change: Callable[[Sides, Request[CommandT]], None],
) -> Outcome:
    outcome = Outcome()
    chats = read_chats(conn, {str(request.command.chat_id) for request in requests})
    asked = []
    for request in requests:
        with outcome.rejections(request):
            chat = require_member(chats, str(request.command.chat_id), request.user_id)
            asked.append((request, chat.id))
    change_chats(conn, asked, context, outcome, change, _answer)
    return outcome


def _answer(sides: Sides, request: Request[Any], members: Members) -> ChatAck:
    return ChatAck(chat=to_own(members[sides.id, request.user_id]))
