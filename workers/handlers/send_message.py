"""`send_message`: stores messages, each once, and delivers them."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from infra.store.invisible import is_invisible
from infra.wire.commands import SendMessage
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import MESSAGE_SENT, NEW_MESSAGE, Message
from infra.wire.inbox import Emit, Position, Target
from workers.chats import Pair, open_chats, read_people
from workers.context import HandlerContext
from workers.messages import deliveries
from workers.new_messages import Route, key_of, read_stored, route, store_messages
from workers.outcome import Outcome
from workers.requests import Request


def send_messages(
    conn: Connection, requests: Sequence[Request[SendMessage]], context: HandlerContext
) -> Outcome:
    """Store new messages. Those stored before get their first answer again."""
    outcome = Outcome()
    accepted = _accept(requests, context, outcome)
    firsts: dict[str, Request[SendMessage]] = {}
    for request in accepted:
        firsts.setdefault(key_of(request), request)
    stored = store_messages(conn, list(firsts.values()), context)
    rejections: dict[Route, Rejection] = {}
    strangers = [request for request in firsts.values() if request.id not in stored]
    if strangers:
        rejections = _open_chats(conn, strangers)
        introduced = [request for request in strangers if route(request) not in rejections]
        stored |= store_messages(conn, introduced, context)
    messages = {key: message for key, first in firsts.items() if (message := stored.get(first.id))}
    messages |= read_stored(conn, [first for key, first in firsts.items() if key not in messages])
    for request in accepted:
        if (message := messages.get(key_of(request))) is not None:
            _answer(outcome, request, message)
        else:
            outcome.reject(request, rejections.get(route(request)) or Rejection(ErrorCode.UNAVAILABLE))
    return outcome


def _accept(
    requests: Sequence[Request[SendMessage]], context: HandlerContext, outcome: Outcome
) -> list[Request[SendMessage]]:
    accepted = []
    for request in requests:
        with outcome.rejections(request):
            _check_text(request.command, context)
            accepted.append(request)
    return accepted


def _check_text(command: SendMessage, context: HandlerContext) -> None:
    if is_invisible(command.text):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "The text is empty.")
    if len(command.text) > context.text_chars:
        too_long = f"The text is longer than {context.text_chars} characters."
        raise Rejection(ErrorCode.INVALID_PAYLOAD, too_long)
    if "\0" in command.text or "\0" in (command.client_id or ""):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Text must not contain NUL characters.")


def _open_chats(conn: Connection, requests: Sequence[Request[SendMessage]]) -> dict[Route, Rejection]:
    """Create missing chats; return a rejection for each route that cannot have one."""
    people = read_people(
        conn, {request.user_id for request in requests}, {request.command.username for request in requests}
    )
    rejections = {}
    pairs = set()
    for request in requests:
        try:
            people.require(request.user_id)
            pairs.add(Pair.of(request.user_id, people.find(request.command.username)))
        except Rejection as rejection:
            rejections[route(request)] = rejection
    open_chats(conn, pairs)
    return rejections


def _answer(outcome: Outcome, request: Request[SendMessage], message: Message) -> None:
    as_first = message if message.status == "sent" else msgspec.structs.replace(message, status="sent")
    rendered = msgspec.Raw(msgspec.json.encode(as_first))
    to_self = message.sender_id == message.recipient_id
    targets = [Target(message.sender_id, MESSAGE_SENT)]
    if message.status == "sent" and not to_self:
        targets.append(Target(message.recipient_id, NEW_MESSAGE, ack=True))
    # For notes to self, every socket receives both events, each once.
    position = Position(f"{message.chat_id}/sent" if to_self else message.chat_id, message.seq)
    outcome.emits.append(Emit(targets, rendered, position, answers=request.id))
    if message.status == "sent" and to_self:
        outcome.emits += deliveries([message])
