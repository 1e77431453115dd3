"""Socket.IO packets as the edge takes them: incoming JSON stays the text that the client has sent."""

from typing import Final

import msgspec
from socketio import packet

_ACK_ID_DIGITS: Final = 16
"""Digits of the ack ids that clients use; others are looked at more closely."""

ATTACHMENT: Final = object()
"""Stands for a binary frame, which was refused with the event that announced it."""
MALFORMED: Final = object()
"""Stands for the data of a packet that is none."""


class Binary(str):
    """The JSON text of an event that announces binary attachments."""

    __slots__ = ()


class Unparsed:
    """Takes the place of `json` in a packet: incoming JSON stays text."""

    @staticmethod
    def loads(text: str) -> str:
        """Return the text as it is."""
        return text

    @staticmethod
    def dumps(data: object, **_: object) -> str:
        """Render what goes out."""
        return msgspec.json.encode(data).decode()


class Packet(packet.Packet):  # type: ignore[misc]
    """A Socket.IO packet that is never binary and never raises on what a client has sent."""

    uses_binary_events = False
    json = Unparsed

    def decode(self, encoded_packet: object) -> int:
        """Take apart what a client has sent; there are never attachments to wait for."""
        try:
            if isinstance(encoded_packet, str):
                super().decode(encoded_packet)
            elif isinstance(encoded_packet, bytes):
                self.packet_type, self.data = packet.EVENT, ATTACHMENT
            else:
                raise ValueError("JSON that engineio has parsed")
        except ValueError:
            self.packet_type, self.namespace, self.id, self.data = packet.EVENT, None, None, MALFORMED
        if self.packet_type == packet.BINARY_EVENT:
            self.packet_type, self.data = packet.EVENT, Binary(self.data or "")
        elif self.packet_type == packet.BINARY_ACK:
            self.packet_type = packet.ACK
        elif self.packet_type == packet.CONNECT_ERROR or self.packet_type > packet.BINARY_ACK:
            self.packet_type, self.data = packet.EVENT, MALFORMED
        return 0


def read_packet(text: str) -> tuple[int, int | None, str] | None:
    """Take apart an event or ack as clients send it: kind, ack id, JSON. None if it is anything else."""
    bracket = text.find("[", 2, 2 + _ACK_ID_DIGITS)
    digits = text[2:bracket]
    if bracket > 2 and not (digits.isdigit() and digits.isascii()):
        return None
    if bracket >= 2 and text.startswith("42"):
        return packet.EVENT, int(digits) if digits else None, text[bracket:]
    if bracket > 2 and text.startswith("43"):
        return packet.ACK, int(digits), text[bracket:]
    return None
