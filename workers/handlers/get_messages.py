"""`get_messages`: a page of history."""

from collections.abc import Sequence

from sqlalchemy import Connection

from infra.wire.commands import GetMessages
from infra.wire.errors import ErrorCode
from infra.wire.events import MessagesAck
from workers.chats import Chat, read_chats, require_member
from workers.errors import Refused
from workers.messages import Span, read_spans
from workers.requests import Outcome, Request
from workers.rules import Rules


def get_messages(conn: Connection, requests: Sequence[Request[GetMessages]], rules: Rules) -> Outcome:
    """Answer each with its page, ascending by seq, and whether there is more in that direction."""
    outcome = Outcome()
    chats = read_chats(conn, {request.command.chat_id for request in requests})
    pages: list[tuple[Request[GetMessages], Span, bool]] = []
    for request in requests:
        try:
            chat = require_member(chats, request.command.chat_id, request.user_id)
            pages.append((request, *_page(request.command, chat, rules)))
        except Refused as refused:
            outcome.fail(request, refused.code, refused.message)
    messages = read_spans(conn, [span for _, span, _ in pages])
    for request, span, has_more in pages:
        outcome.succeed(request, MessagesAck(messages=messages[span], has_more=has_more))
    return outcome


def _page(command: GetMessages, chat: Chat, rules: Rules) -> tuple[Span, bool]:
    size = rules.page_size(command.limit)
    if command.after is not None:
        if command.before is not None:
            raise Refused(ErrorCode.INVALID_PAYLOAD, "Give `before` or `after`, not both.")
        last = min(command.after + size, chat.last_seq)
        return Span(chat.id, command.after + 1, last), last < chat.last_seq
    last = chat.last_seq if command.before is None else min(command.before - 1, chat.last_seq)
    first = max(1, last - size + 1)
    return Span(chat.id, first, last), first > 1 and last >= 1
