"""Packets as the edge reads and writes them: a client's JSON stays the text that it sent."""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qs

import msgspec
from socketio import packet

from socket_edge.json_text import is_array

RECORD_SEPARATOR: Final = "\x1e"
"""Separates the packets in the body of a request, and in the answer to a poll."""

_ACK_ID_DIGITS: Final = 16
"""Most digits of an ack id on the fast path; clients never use more."""
_PACKET: Final = re.compile(
    r"(?:([0-4])|([56])([0-9]{1,2})-)"  # kind, attachments
    r"(?:(/[^,?]*)(?:\?[^,]*)?(?:,|\Z))?"  # namespace, without its query
    r"([0-9]{1,100}(?![0-9]))?(.*)",  # ack id, data
    re.DOTALL,
)
_ESCAPED_BREAK: Final = re.compile(r"(\\)?\\n")
_TYPES: Final = frozenset("0123456")
_BINARY: Final = "b"
"""Marks a binary packet in the body of a request; Base64 follows."""


class ClientPacket(NamedTuple):
    """A Socket.IO packet that a client has sent."""

    kind: int
    """CONNECT, DISCONNECT, EVENT, ACK, BINARY_EVENT or BINARY_ACK, as python-socketio numbers them."""
    attachments: int
    """How many binary packets follow."""
    namespace: str
    ack_id: int | None
    data: str
    """JSON text; empty if there is none. That of an ack is an array; that of an event is not checked."""


class _Json:
    """Takes the place of the `json` module in outgoing packets."""

    @staticmethod
    def dumps(data: object, **_: object) -> str:
        return msgspec.json.encode(data).decode()


class Packet(packet.Packet):  # type: ignore[misc]
    """A Socket.IO packet that the server sends. It is never binary."""

    uses_binary_events = False
    json = _Json


def size_of(data: str | bytes) -> int:
    """Return the size of what a client sent, in bytes."""
    if isinstance(data, str) and not data.isascii():
        return len(data.encode(errors="surrogatepass"))
    return len(data)


def split_message(text: str) -> tuple[int, int | None, str] | None:
    """Split an event or ack, in its usual form, into kind, ack id and JSON text.

    None for any other packet, which `read_packet` reads.
    """
    bracket = text.find("[", 2, 2 + _ACK_ID_DIGITS)
    digits = text[2:bracket]
    if bracket > 2 and not (digits.isdigit() and digits.isascii()):
        return None
    if bracket >= 2 and text.startswith("42"):
        return packet.EVENT, int(digits) if digits else None, text[bracket:]
    if bracket > 2 and text.startswith("43") and is_array(text[bracket:]):
        return packet.ACK, int(digits), text[bracket:]
    return None


_IS_SOUND: Final[Mapping[int, Callable[[ClientPacket], bool]]] = {
    packet.CONNECT: lambda read: read.ack_id is None,
    packet.DISCONNECT: lambda read: read.ack_id is None and not read.data,
    packet.EVENT: lambda read: True,
    packet.ACK: lambda read: is_array(read.data),
    packet.CONNECT_ERROR: lambda read: False,
    packet.BINARY_EVENT: lambda read: read.attachments > 0,
    packet.BINARY_ACK: lambda read: read.attachments > 0 and is_array(read.data),
}
"""Whether a packet of each kind has what its kind needs, and nothing else."""


def read_packet(text: str) -> ClientPacket | None:
    """Decode a Socket.IO packet; None if it is none, or one that only servers send."""
    match = _PACKET.fullmatch(text)
    if match is None:
        return None
    plain, binary, attachments, namespace, ack_id, data = match.groups()
    read = ClientPacket(
        kind=int(plain or binary),
        attachments=int(attachments or 0),
        namespace=namespace or "/",
        ack_id=int(ack_id) if ack_id else None,
        data=data,
    )
    return read if _IS_SOUND[read.kind](read) else None


def is_frame(text: str) -> bool:
    """Tell whether a text begins like an Engine.IO packet."""
    return text[:1] in _TYPES


def read_packets(body: bytes, *, is_form: bool) -> list[str | bytes] | None:
    """Return the Engine.IO packets in the body of a request; None if any of them is none.

    `is_form` is for JSONP, whose body is an HTML form.
    """
    try:
        text = body.decode()
        if is_form:
            text = _unescape(parse_qs(text, strict_parsing=True, max_num_fields=1)["d"][0])
        packets = [_read_frame(one) for one in text.split(RECORD_SEPARATOR)]
    except (ValueError, LookupError):
        return None
    return packets


def _unescape(text: str) -> str:
    """Undo what JSONP clients do to line breaks, which some browsers change in forms."""
    return _ESCAPED_BREAK.sub(lambda found: found[0] if found[1] else "\n", text).replace(r"\\n", r"\n")


def _read_frame(text: str) -> str | bytes:
    """Return a packet as it would come over a websocket. Raises ValueError."""
    if text.startswith(_BINARY):
        return base64.b64decode(text[1:], validate=True)
    if not is_frame(text):
        raise ValueError("not a packet")
    return text


def jsonp(answer: str, index: int) -> str:
    """Wrap the answer to a request as a script that calls the client."""
    # Some scripts end a line at these characters, even in a string.
    text = msgspec.json.encode(answer).decode().replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"___eio[{index}]({text});"
