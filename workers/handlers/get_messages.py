"""`get_messages`: a page of history."""

from collections.abc import Sequence

from sqlalchemy import Connection

from infra.wire.commands import GetMessages
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import MessagesAck
from workers.chats import Chat, read_chats, require_member
from workers.context import HandlerContext
from workers.outcome import Outcome
from workers.pages import Window, read_pages
from workers.requests import Request


def get_messages(
    conn: Connection, requests: Sequence[Request[GetMessages]], context: HandlerContext
) -> Outcome:
    """Answer each request with its page, ascending by seq, and whether there is more in that direction."""
    outcome = Outcome()
    chats = read_chats(conn, {str(request.command.chat_id) for request in requests})
    windows: list[tuple[Request[GetMessages], Window]] = []
    for request in requests:
        with outcome.rejections(request):
            chat = require_member(chats, str(request.command.chat_id), request.user_id)
            windows.append((request, _window(request.command, chat, context)))
    pages = read_pages(conn, {window for _, window in windows})
    for request, window in windows:
        page = pages[window]
        ack = MessagesAck(
            messages=page.messages, has_more=page.has_more, archived_before=page.archived_before
        )
        outcome.succeed(request, ack)
    return outcome


def _window(command: GetMessages, chat: Chat, context: HandlerContext) -> Window:
    size = context.page_size(command.limit)
    if command.after is None:
        return Window.before(chat, command.before, size)
    if command.before is not None:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Give `before` or `after`, not both.")
    return Window.after(chat.id, chat.last_seq, command.after, size)
