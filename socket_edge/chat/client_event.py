"""What the edge checks of a client event before it relays it: name, size, nesting and JSON syntax."""

import re
from typing import NamedTuple

import msgspec

from infra.wire.errors import ErrorCode, Rejection
from infra.wire.registry import CLIENT_COMMANDS
from socket_edge.connection.api import Binary, EventData
from socket_edge.json_text import is_too_deep, parse_shape

_parts = msgspec.json.Decoder(list[msgspec.Raw])
_name = msgspec.json.Decoder(str | int | float)
_NAME = re.compile(r'\[\s{0,8}"([a-z_]{1,32})"')
_BEGINNING = re.compile(r'\s*\[\s*["0-9-]')
"""How an event begins, however large or deep it is: with a name, which may be a number."""


class MalformedEvent(Rejection):
    """What a client sent as an event is none: the protocol says that its connection must end."""


class ClientEvent(NamedTuple):
    """An event as the client sent it."""

    name: str
    payload: bytes
    """The client's own JSON. Only its syntax was checked."""


def known_name(data: EventData) -> str | None:
    """Return the name of an event without parsing it; None if it is not a command."""
    match = _NAME.match(data)
    return match[1] if match and match[1] in CLIENT_COMMANDS else None


def read_event(data: EventData, payload_bytes: int) -> ClientEvent:
    """Split an event into name and payload. Raises Rejection; MalformedEvent if it is not even an event."""
    if not _BEGINNING.match(data):
        raise _malformed()
    encoded = data.encode(errors="surrogatepass")
    if len(encoded) > payload_bytes:
        raise Rejection(ErrorCode.PAYLOAD_TOO_LARGE, f"The payload is larger than {payload_bytes} bytes.")
    if is_too_deep(encoded):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "The payload is nested too deep.")
    try:
        name, *payloads = _parts.decode(encoded)
        decoded = _name.decode(name)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _refusal(data) from error
    if isinstance(data, Binary):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Binary attachments are not supported.")
    if decoded not in CLIENT_COMMANDS:
        raise Rejection(ErrorCode.UNKNOWN_EVENT)
    if len(payloads) > 1:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Send one object as the payload.")
    return ClientEvent(decoded, bytes(payloads[0]) if payloads else b"{}")


def _refusal(data: str) -> Rejection:
    """Return why data cannot be read as an event."""
    try:
        match parse_shape(data):
            case [str() | float(), *_]:
                return Rejection(ErrorCode.INVALID_PAYLOAD, "The event is not valid Unicode text.")
    except ValueError:
        pass
    return _malformed()


def _malformed() -> MalformedEvent:
    message = "This is not a Socket.IO event: a JSON array that begins with a name."
    return MalformedEvent(ErrorCode.INVALID_PAYLOAD, message)
