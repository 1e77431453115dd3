"""What an edge accepts of an event before it looks any further."""

import re
from typing import NamedTuple

import msgspec

from infra.wire.commands import REFRESH_TOKEN, RELAYED
from infra.wire.errors import ErrorCode
from socket_edge.errors import EdgeError
from socket_edge.packets import Binary

_parts = msgspec.json.Decoder(list[msgspec.Raw])
_name = msgspec.json.Decoder(str)
_NAME = re.compile(r'\["([a-z_]{1,32})"')
_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+|([\[{])|[\]}]', re.DOTALL)
"""A string (whose brackets do not count), an opening bracket (group 1) or a closing one.

A string may lack its end: otherwise each quote in one that does would be tried anew, up to the end.
"""

DEPTH = 32
"""How deep a payload may be nested: decoders recurse, and one behind us that cannot fails a whole batch."""


class ClientEvent(NamedTuple):
    """An event as the client has sent it."""

    name: str
    payload: bytes
    """The client's own JSON, checked for syntax only."""


class BadEvent(EdgeError):
    """The event is refused by the edge. `event` is its name, as far as it is one of ours."""

    def __init__(self, code: ErrorCode, message: str | None = None, event: str | None = None) -> None:
        super().__init__(code, message)
        self.event = event


def size_of(data: object) -> int:
    """Return the size of an event in bytes; 0 of what is none."""
    if not isinstance(data, str):
        return 0
    return len(data) if data.isascii() else len(data.encode(errors="surrogatepass"))


def known_name(data: object) -> str | None:
    """Return the name of an event, without parsing it, as far as it is one of ours."""
    match = _NAME.match(data) if isinstance(data, str) else None
    return match[1] if match and (match[1] in RELAYED or match[1] == REFRESH_TOKEN) else None


def read_event(data: object, payload_bytes: int) -> ClientEvent:
    """Split an event into name and payload. Raises BadEvent."""
    event = known_name(data)
    if isinstance(data, Binary):
        raise BadEvent(ErrorCode.INVALID_PAYLOAD, "Binary attachments are not supported.", event)
    if not isinstance(data, str):
        raise BadEvent(ErrorCode.INVALID_PAYLOAD, "This is not a Socket.IO event.")
    encoded = data.encode(errors="surrogatepass")
    if len(encoded) > payload_bytes:
        raise BadEvent(
            ErrorCode.PAYLOAD_TOO_LARGE, f"The payload is larger than {payload_bytes} bytes.", event
        )
    if _is_deeper_than(encoded, DEPTH):
        raise BadEvent(ErrorCode.INVALID_PAYLOAD, "The payload is nested too deep.", event)
    try:
        name, *payloads = _parts.decode(encoded)
        decoded = _name.decode(name)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadEvent(ErrorCode.INVALID_PAYLOAD, "The event is not valid JSON text.", event) from error
    if decoded not in RELAYED and decoded != REFRESH_TOKEN:
        raise BadEvent(ErrorCode.UNKNOWN_EVENT)
    if len(payloads) > 1:
        raise BadEvent(ErrorCode.INVALID_PAYLOAD, "Send one object as the payload.", decoded)
    return ClientEvent(decoded, bytes(payloads[0]) if payloads else b"{}")


def _is_deeper_than(encoded: bytes, depth: int) -> bool:
    if encoded.count(b"[") + encoded.count(b"{") <= depth:
        return False
    level = 0
    for match in _BRACKET.finditer(encoded):
        if match[0][:1] != b'"':
            level += 1 if match[1] else -1
            if level > depth:
                return True
    return False
