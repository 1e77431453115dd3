"""`send_message`: stores messages, each once, and delivers them. Those of the system as well."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress

import msgspec
from sqlalchemy import Connection

from infra.wire.commands import SendMessage
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import MESSAGE_SENT, NEW_MESSAGE, Message
from infra.wire.inbox import Emit, Position, Target
from workers.chats import Pair, list_for, open_chats, people_of, require_somebody
from workers.context import HandlerContext
from workers.gate import store_at_gate
from workers.messages import deliveries
from workers.new_messages import is_system, key_of, read_quotes, read_stored, store_messages
from workers.outcome import Outcome
from workers.own_chats import tell_moved
from workers.refusals import LastingRejection, remember
from workers.requests import Request
from workers.system_messages import store_system_messages
from workers.texts import check_text


def send_messages(
    conn: Connection, requests: Sequence[Request[SendMessage]], context: HandlerContext
) -> Outcome:
    """Store new messages. Those stored before get their first answer again."""
    outcome = Outcome()
    for same_kind in _in_turns(_accept(requests, context, outcome)):
        _send(conn, same_kind, context, outcome)
    return outcome


def _in_turns(requests: Sequence[Request[SendMessage]]) -> list[list[Request[SendMessage]]]:
    """Split requests into few groups, users' messages or the system's, that keep each sender's in order."""
    turns: dict[int, list[Request[SendMessage]]] = defaultdict(list)
    last: dict[str, int] = {}
    for request in requests:
        turn = last.get(request.user_id, 0)
        last[request.user_id] = turn = turn + (turn % 2 != is_system(request))
        turns[turn].append(request)
    return [turns[turn] for turn in sorted(turns)]


def _send(
    conn: Connection, accepted: Sequence[Request[SendMessage]], context: HandlerContext, outcome: Outcome
) -> None:
    """Store and answer messages that are all of users, or all of the system."""
    answered = read_quotes(conn, accepted)
    firsts: dict[str, Request[SendMessage]] = {}
    for request in accepted:
        firsts.setdefault(key_of(request), request)
    rejections = _refuse(conn, accepted, firsts, context) if context.refusals else {}
    allowed = [request for request in firsts.values() if request.id not in rejections]
    known = [request for request in allowed if request.command.reply_to is None or request.id in answered]
    is_of_system = is_system(accepted[0])
    store = store_system_messages if is_of_system else store_messages
    stored = store(conn, known, context)
    strangers = [request for request in allowed if request.id not in stored]
    if strangers:
        rejections |= _open_chats(conn, strangers, answered, context)
        introduced = [request for request in strangers if request.id not in rejections]
        if is_of_system:
            stored |= store_system_messages(conn, introduced, context)
        else:
            at_gate = store_at_gate(conn, introduced, context)
            stored |= at_gate.stored
            rejections |= dict.fromkeys(at_gate.refused, Rejection(ErrorCode.NOT_ALLOWED))
            # Before what another worker has stored meanwhile is read: from now on nobody stores these.
            remember(conn, at_gate.refused, context)
            tell_moved(conn, at_gate.moved, outcome)
    messages = _with_quotes(conn, firsts, stored)
    messages |= read_stored(conn, [first for key, first in firsts.items() if key not in messages])
    for request in accepted:
        key = key_of(request)
        if (message := messages.get(key)) is not None:
            _answer(outcome, request, message)
        else:
            outcome.reject(request, rejections.get(firsts[key].id) or Rejection(ErrorCode.UNAVAILABLE))


def _accept(
    requests: Sequence[Request[SendMessage]], context: HandlerContext, outcome: Outcome
) -> list[Request[SendMessage]]:
    accepted = []
    for request in requests:
        with outcome.rejections(request):
            check_message(request.command, context)
            accepted.append(request)
    return accepted


def check_message(command: SendMessage, context: HandlerContext) -> None:
    """Raise Rejection(invalid_payload) for what no message may say."""
    require_somebody(command)
    check_text(command.text, context, has_data=command.data_text is not None)
    if "\0" in (command.client_id or ""):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Text must not contain NUL characters.")


def _refuse(
    conn: Connection,
    requests: Sequence[Request[SendMessage]],
    firsts: Mapping[str, Request[SendMessage]],
    context: HandlerContext,
) -> dict[str, Rejection]:
    """Return why messages are refused before anything else is asked, and remember what stays refused.

    Their chats remember it, so they are created, but nobody sees them. One that is locked cannot.
    """
    refusals = {
        first.id: context.refusals[first.id] for first in firsts.values() if first.id in context.refusals
    }
    lasting = [
        request
        for request in requests
        if isinstance(refusals.get(firsts[key_of(request)].id), LastingRejection)
    ]
    if not lasting:
        return refusals
    people = people_of(conn, lasting)
    pairs = {}
    for request in lasting:
        with suppress(Rejection):  # whoever does not exist gets no message
            people.require(request.user_id)
            pairs[request.id] = Pair.of(request.user_id, people.named(request.command))
    chats = open_chats(conn, set(pairs.values()), context, is_listed=False)
    kept = remember(conn, {id: chats[pair].id for id, pair in pairs.items()}, context)
    unkept = {id for id, pair in pairs.items() if chats[pair].id not in kept}
    return refusals | dict.fromkeys(refusals.keys() & unkept, Rejection(ErrorCode.UNAVAILABLE))


def _open_chats(
    conn: Connection,
    requests: Sequence[Request[SendMessage]],
    answered: Container[str],
    context: HandlerContext,
) -> dict[str, Rejection]:
    """Create missing chats, and list them for the senders.

    Returns a rejection for each request that cannot be stored.
    """
    people = people_of(conn, requests)
    rejections = {}
    pairs = {}
    for request in requests:
        try:
            people.require(request.user_id)
            pair = Pair.of(request.user_id, people.named(request.command))
            if request.command.reply_to is not None and request.id not in answered:
                raise Rejection(ErrorCode.MESSAGE_NOT_FOUND, "There is no message with the seq in `replyTo`.")
            pairs[request.id] = pair
        except Rejection as rejection:
            rejections[request.id] = rejection
    chats = open_chats(conn, set(pairs.values()), context)
    # Whether it then passes or not: a list must not tell a block from a setting.
    list_for(conn, [(chats[pairs[one.id]], one.user_id) for one in requests if one.id in pairs], context)
    return rejections


def _with_quotes(
    conn: Connection, firsts: Mapping[str, Request[SendMessage]], stored: Mapping[str, Message | None]
) -> dict[str, Message]:
    """Return the new messages by key, with what they answer.

    That is read once they are stored: it may have been unsent shortly before.
    """
    new = {key: message for key, first in firsts.items() if (message := stored.get(first.id))}
    quotes = read_quotes(conn, [firsts[key] for key in new])
    for key, message in new.items():
        if message.id in quotes:
            new[key] = msgspec.structs.replace(message, reply_to=quotes[message.id])
    return new


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
