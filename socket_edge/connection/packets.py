"""Packets as the edge reads them: a client's JSON stays the text that it sent."""

from typing import Any, Final

import msgspec
from engineio import packet as frame
from engineio.payload import Payload
from socketio import packet

from socket_edge.connection.api import Binary, Malformed

_ACK_ID_DIGITS: Final = 16
"""Most digits of an ack id on the fast path; clients never use more."""

ATTACHMENT: Final = object()
"""Placeholder payload for a binary frame, whose event was refused when it was announced."""


def size_of(data: str | bytes) -> int:
    """Return the size of what a client sent, in bytes."""
    if isinstance(data, str) and not data.isascii():
        return len(data.encode(errors="surrogatepass"))
    return len(data)


class Unparsed:
    """Takes the place of the `json` module in packets: incoming JSON stays text."""

    @staticmethod
    def loads(text: str) -> str:
        """Return the text as it is."""
        return text

    @staticmethod
    def dumps(data: object, **_: object) -> str:
        """Render outgoing data."""
        return msgspec.json.encode(data).decode()


class Packet(packet.Packet):  # type: ignore[misc]
    """A Socket.IO packet that is never binary, and whose decoding never raises."""

    uses_binary_events = False
    json = Unparsed

    def decode(self, encoded_packet: object) -> int:
        """Decode a packet; return the number of attachments to wait for, always 0."""
        try:
            if isinstance(encoded_packet, str):
                super().decode(encoded_packet)
            elif isinstance(encoded_packet, bytes):
                self.packet_type, self.data = packet.EVENT, ATTACHMENT
            else:
                raise ValueError("JSON that engineio has parsed")
        except ValueError:
            self.packet_type, self.namespace, self.id = packet.EVENT, None, None
            self.data = Malformed.PACKET
        if self.packet_type == packet.BINARY_EVENT:
            self.packet_type, self.data = packet.EVENT, Binary(self.data or "")
        elif self.packet_type == packet.BINARY_ACK:
            self.packet_type = packet.ACK
        elif self.packet_type == packet.CONNECT_ERROR or self.packet_type > packet.BINARY_ACK:
            self.packet_type, self.data = packet.EVENT, Malformed.PACKET
        return 0


def read_packet(text: str) -> tuple[int, int | None, str] | None:
    """Split an event or ack, in its usual form, into kind, ack id and JSON text.

    None for any other frame, which `Packet` decodes.
    """
    bracket = text.find("[", 2, 2 + _ACK_ID_DIGITS)
    digits = text[2:bracket]
    if bracket > 2 and not (digits.isdigit() and digits.isascii()):
        return None
    if bracket >= 2 and text.startswith("42"):
        return packet.EVENT, int(digits) if digits else None, text[bracket:]
    if bracket > 2 and text.startswith("43"):
        return packet.ACK, int(digits), text[bracket:]
    return None


def well_formed(frame: str) -> str | None:
    """Strip data that an Engine.IO frame of this type cannot carry; return None if it is not a frame.

    engineio would parse such data as JSON, however deeply it is nested.
    """
    kind = frame[:1]
    if kind == "4" and frame[1:2].isnumeric():
        return frame
    if kind and kind in "0123456":
        return frame if frame == "2probe" else kind
    return None


def body_bytes(environ: dict[str, Any]) -> int:
    """Return the size that a request announces for its body; `BodyGuard` refuses bodies without one."""
    length: str = environ.get("CONTENT_LENGTH", "")
    return int(length) if length.isdecimal() else 0


async def read_packets(environ: dict[str, Any]) -> list[frame.Packet]:
    """Return the packets in the body of a poll. A malformed body is the client's mistake, and has none."""
    body: bytes = await environ["wsgi.input"].read(body_bytes(environ))
    try:
        packets: list[frame.Packet] = Payload(encoded_payload=body.decode()).packets
    except (ValueError, LookupError):
        return []
    return packets


def packet_bytes(pkt: frame.Packet) -> int:
    """Return the size of a packet of a poll, as it was sent; without the Base64 of a binary one."""
    return len(pkt.data) if pkt.binary else 1 + size_of(pkt.data)
