"""From the wire to typed requests, and from handlers back to answers."""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from infra.wire.batch import Event
from infra.wire.commands import INTERNAL, RELAYED
from infra.wire.errors import ErrorCode, Failure
from infra.wire.inbox import Answer, Emit, Position, Target
from workers.errors import Refused

_DECODERS = {
    name: msgspec.json.Decoder(command, strict=True) for name, command in {**RELAYED, **INTERNAL}.items()
}

CommandT = TypeVar("CommandT", covariant=True)


@dataclass(frozen=True, slots=True)
class Request(Generic[CommandT]):
    """One event of the batch, decoded."""

    id: str
    """Id of the event."""
    user_id: str
    socket_id: str
    command: CommandT


@dataclass(slots=True)
class Outcome:
    """What a handler has to say: an answer for each request, and what other sockets must get."""

    answers: list[Answer] = field(default_factory=list)
    emits: list[Emit] = field(default_factory=list)

    def succeed(self, request: Request[Any], ack: msgspec.Struct, *, settled: Position | None = None) -> None:
        """Answer `request` with `ack`. `settled` is explained at `Answer`."""
        self.answers.append(Answer(request.id, msgspec.Raw(msgspec.json.encode(ack)), settled=settled))

    def fail(self, request: Request[Any], code: ErrorCode, message: str | None = None) -> None:
        """Answer `request` with an error."""
        client_id = getattr(request.command, "client_id", None)
        self.answers.append(Answer(request.id, failure=Failure.of(code, message, client_id)))

    def emit(self, user_id: str, event: str, payload: msgspec.Struct, *, skip: str | None = None) -> None:
        """Emit `payload` to all sockets of `user_id`, but not to the socket `skip`."""
        data = msgspec.Raw(msgspec.json.encode(payload))
        self.emits.append(Emit([Target(user_id, event, skip=skip)], data))

    def extend(self, other: "Outcome") -> None:
        """Append what `other` has to say."""
        self.answers += other.answers
        self.emits += other.emits


def decode(event: Event) -> Request[Any]:
    """Decode the payload of an event. Raises Refused(invalid_payload, unknown_event)."""
    decoder = _DECODERS.get(event.name)
    if decoder is None:
        raise Refused(ErrorCode.UNKNOWN_EVENT)
    try:
        command = decoder.decode(event.payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(ErrorCode.INVALID_PAYLOAD, _explain(error)) from error
    return Request(event.id, event.user_id, event.socket_id, command)


def _explain(error: msgspec.DecodeError | RecursionError | UnicodeDecodeError) -> str:
    """Turn msgspec's words into a sentence for a client developer."""
    if isinstance(error, msgspec.ValidationError):
        return f"Invalid payload: {error}."
    if isinstance(error, RecursionError):
        return "Invalid payload: it is nested too deep."
    return "Invalid payload: it holds text that is not valid Unicode."
