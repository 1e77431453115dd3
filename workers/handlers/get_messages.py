"""`get_messages`: a page of history."""

from collections.abc import Sequence

from sqlalchemy import Connection

from infra.wire.commands import GetMessages
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import MessagesAck
from workers.context import HandlerContext
from workers.members import OwnChat, read_own
from workers.outcome import Outcome
from workers.pages import Window, read_pages
from workers.requests import Request


def get_messages(
    conn: Connection, requests: Sequence[Request[GetMessages]], context: HandlerContext
) -> Outcome:
    """Answer each request with its page, ascending by seq, and whether there is more in that direction."""
    outcome = Outcome()
    own = read_own(conn, {(str(request.command.chat_id), request.user_id) for request in requests})
    windows: list[tuple[Request[GetMessages], Window]] = []
    for request in requests:
        with outcome.rejections(request):
            chat = own.get((str(request.command.chat_id), request.user_id))
            windows.append((request, _window(request.command, chat, context)))
    pages = read_pages(conn, {window for _, window in windows})
    for request, window in windows:
        page = pages[window]
        ack = MessagesAck(
            messages=page.messages,
            has_more=page.has_more,
            change=own[window.chat_id, request.user_id].change,
            archived_before=page.archived_before,
        )
        outcome.succeed(request, ack)
    return outcome


def _window(command: GetMessages, chat: OwnChat | None, context: HandlerContext) -> Window:
    if chat is None:
        raise Rejection(ErrorCode.CHAT_NOT_FOUND)
    if chat.cleared_seq is None:
        raise Rejection(ErrorCode.NOT_A_MEMBER)
    if chat.is_deleted:  # an API key outlives the tokens of a user
        raise Rejection(ErrorCode.PROFILE_MISSING)
    size = context.page_size(command.limit)
    if command.after is None:
        return Window.before(chat.id, chat.last_seq, command.before, size, cleared_seq=chat.cleared_seq)
    if command.before is not None:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Give `before` or `after`, not both.")
    return Window.after(chat.id, chat.last_seq, command.after, size, cleared_seq=chat.cleared_seq)
