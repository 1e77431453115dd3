"""Events of a batch, decoded into typed requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from infra.wire.batch import Event
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.registry import WORKER_COMMANDS

_DECODERS = {
    name: msgspec.json.Decoder(command.payload, strict=True) for name, command in WORKER_COMMANDS.items()
}

CommandT = TypeVar("CommandT", covariant=True)

HANDLED: Final = 10
"""How many requests are remembered where they would otherwise undo later ones, if they came again.

That happens when Redis loses its last seconds, or an edge sends again what was handled meanwhile.
"""


@dataclass(frozen=True, slots=True)
class Request(Generic[CommandT]):
    """One event of the batch, decoded."""

    id: str
    """Id of the event."""
    user_id: str
    socket_id: str
    command: CommandT
    payload: msgspec.Raw
    """What `command` was decoded from."""


Requests = Mapping[str, Sequence[Request[Any]]]
"""The requests of a batch by the name of their command, each kind in the order of arrival."""


def decode(event: Event) -> Request[Any]:
    """Decode the payload of an event. Raises Rejection(invalid_payload, unknown_event)."""
    decoder = _DECODERS.get(event.name)
    if decoder is None:
        raise Rejection(ErrorCode.UNKNOWN_EVENT)
    try:
        command = decoder.decode(event.payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, _explain(error)) from error
    return Request(event.id, event.user_id, event.socket_id, command, event.payload)


def _explain(error: msgspec.DecodeError | RecursionError | UnicodeDecodeError) -> str:
    """Turn a decoder's error into a sentence for a client developer."""
    if isinstance(error, msgspec.ValidationError):
        return f"Invalid payload: {error}."
    if isinstance(error, RecursionError):
        return "Invalid payload: it is nested too deep."
    return "Invalid payload: it holds text that is not valid Unicode."
