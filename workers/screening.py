"""Has the app's backend look at messages and edits before they are stored, if the team wants that."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import Connection

from infra.wire.batch import Event
from infra.wire.commands import EditMessage, SendMessage
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.hook import Change, HookMessage, Refuse, Result
from workers import metrics
from workers.chats import Pair, find_chats, people_of, read_chats, require_member
from workers.context import HandlerContext
from workers.handlers.send_message import check_message
from workers.refusals import LastingRejection
from workers.requests import Request, decode
from workers.texts import check_text

_ASKED: Final = frozenset({"send_message", "edit_message"})
_REASON_CHARS: Final = 200


class Asks(Protocol):
    """Whom to ask."""

    def ask(self, messages: Sequence[HookMessage]) -> list[Result | None]:
        """Return a result for each message; None where there is none."""
        ...


@dataclass(slots=True)
class Screened:
    """What became of the events of a batch."""

    events: list[Event]
    """All of them; what was changed says what is to be stored."""
    refusals: dict[str, Rejection] = field(default_factory=dict)
    """By event: why it must not be stored."""


class Screen:
    """Asks about the messages of a batch. `fails_open` says whether those without an answer pass."""

    def __init__(self, hook: Asks, *, fails_open: bool) -> None:
        self._hook = hook
        self._fails_open = fails_open

    def ask(self, messages: Sequence[HookMessage], screened: Screened, context: HandlerContext) -> None:
        """Ask about the messages, and note what is to become of them."""
        if not messages:
            return
        results = {
            message.id: (message, result)
            for message, result in zip(messages, self._hook.ask(messages), strict=True)
        }
        held: set[tuple[str, str]] = set()
        for place, event in enumerate(screened.events):
            if event.id not in results:
                continue
            message, result = results[event.id]
            way = (message.sender_id, message.recipient_id)
            changed = _changed(event, result, context) if isinstance(result, Change) else event
            outcome = "failed" if result is None or changed is None else type(result).__name__.lower()
            if isinstance(result, Refuse):
                screened.refusals[event.id] = LastingRejection(ErrorCode.NOT_ALLOWED, _reason(result))
            elif outcome == "failed" or way in held:
                # Later ones must not overtake it.
                if not self._fails_open:
                    screened.refusals[event.id] = Rejection(ErrorCode.UNAVAILABLE)
                    held.add(way)
            elif changed is not None:
                screened.events[place] = changed
            metrics.HOOK_MESSAGES.counts[outcome,] += 1


def is_asked_about(event: Event) -> bool:
    """Tell whether the app's backend is asked about such events."""
    return event.name in _ASKED


def find_messages(conn: Connection, screened: Screened, context: HandlerContext) -> list[HookMessage]:
    """Return what to ask about.

    An event whose chat or recipient is unknown by now is refused: nobody was asked when they are known later.
    """
    sends: list[Request[SendMessage]] = []
    edits: list[Request[EditMessage]] = []
    for event in screened.events:
        if is_asked_about(event):
            with suppress(Rejection):  # its handler finds the same
                request = decode(event)
                _check(request.command, context)
                (sends if event.name == "send_message" else edits).append(request)
    return [*_of_sends(conn, sends, screened.refusals), *_of_edits(conn, edits, screened.refusals)]


def _of_sends(
    conn: Connection, requests: Sequence[Request[SendMessage]], refusals: dict[str, Rejection]
) -> list[HookMessage]:
    if not requests:
        return []
    people = people_of(conn, requests)
    recipients = {}
    for request in requests:
        try:
            recipients[request.id] = people.named(request.command)
        except Rejection as rejection:
            refusals[request.id] = rejection
    known = [request for request in requests if request.id in recipients]
    pairs = {request.id: Pair.of(request.user_id, recipients[request.id]) for request in known}
    chats = find_chats(conn, set(pairs.values()))
    return [
        HookMessage(
            id=request.id,
            sender_id=request.user_id,
            recipient_id=recipients[request.id],
            text=request.command.text,
            data=msgspec.UNSET if request.command.data_text is None else request.command.data,
            chat_id=chats[pair].id if (pair := pairs[request.id]) in chats else None,
            reply_to=request.command.reply_to,
            client_id=request.command.client_id,
        )
        for request in known
    ]


def _of_edits(
    conn: Connection, requests: Sequence[Request[EditMessage]], refusals: dict[str, Rejection]
) -> list[HookMessage]:
    if not requests:
        return []
    chats = read_chats(conn, {str(request.command.chat_id) for request in requests})
    messages = []
    for request in requests:
        try:
            chat = require_member(chats, str(request.command.chat_id), request.user_id)
        except Rejection as rejection:
            refusals[request.id] = rejection
            continue
        messages.append(
            HookMessage(
                id=request.id,
                sender_id=request.user_id,
                recipient_id=chat.peer_of(request.user_id),
                text=request.command.text,
                data=request.command.data,
                chat_id=chat.id,
                client_id=request.command.client_id,
                is_edit=True,
                seq=request.command.seq,
            )
        )
    return messages


def _changed(event: Event, change: Change, context: HandlerContext) -> Event | None:
    """Return the event with what the hook wants it to say; None if no client could send that."""
    wanted: dict[str, Any] = {} if change.text is msgspec.UNSET else {"text": change.text}
    try:
        if change.data is not msgspec.UNSET:
            wanted["data"] = msgspec.Raw(msgspec.json.encode(change.data))
        command = msgspec.structs.replace(decode(event).command, **wanted)
        changed = msgspec.structs.replace(event, payload=msgspec.Raw(msgspec.json.encode(command)))
        _check(decode(changed).command, context)
    except (Rejection, ValueError, OverflowError, RecursionError):
        return None
    return changed


def _check(command: SendMessage | EditMessage, context: HandlerContext) -> None:
    """Raise Rejection if a command says what it must not."""
    if isinstance(command, SendMessage):
        check_message(command, context)
    else:
        # Without `data`, the message keeps what it has.
        has_data = command.data is msgspec.UNSET or command.data_text is not None
        check_text(command.text, context, has_data=has_data)


def _reason(refusal: Refuse) -> str | None:
    """Return what the sender is told: one line."""
    visible = "".join(char if char.isprintable() else " " for char in refusal.reason or "")
    return " ".join(visible.split())[:_REASON_CHARS] or None
