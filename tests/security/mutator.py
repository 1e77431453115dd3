"""Mutates valid input into bursts of broken input. The same seed gives the same bursts."""

import json
import random
from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.security.tcp import CLOSE, PING, TEXT, frame, handshake

Kind = Literal["member", "stranger", "frames", "poll", "request"]
KINDS: Final[tuple[Kind, ...]] = ("member", "member", "stranger", "frames", "poll", "request")
"""A member is signed in; a burst of frames is broken below the packets; requests are bare HTTP."""

_ID: Final = "01890000-0000-7000-8000-000000000000"
_EVENTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("send_message", {"username": "fuzz_bob", "text": "hello", "clientId": "c1"}),
    ("send_message", {"username": "fuzz_bob", "text": "Grüße 👋"}),
    ("send_message", {"username": "fuzz_bob", "data": {"image": "a.png"}, "replyTo": 1}),
    ("edit_message", {"chatId": _ID, "seq": 1, "text": "hello!", "clientId": "c2"}),
    ("unsend_message", {"chatId": _ID, "seq": 1}),
    ("react", {"chatId": _ID, "seq": 1, "emoji": "👍", "on": True}),
    ("clear_chat", {"chatId": _ID, "upTo": 1}),
    ("join_chat", {"username": "fuzz_bob", "limit": 10}),
    ("mark_as_read", {"chatId": _ID, "upTo": 3}),
    ("get_messages", {"chatId": _ID, "before": 5, "limit": 2}),
    ("list_chats", {"cursor": "WzFd", "limit": 5}),
    ("list_chats", {"box": "requests", "since": "2026-01-01T00:00:00Z"}),
    ("sync", {"cursors": {_ID: 4}}),
    ("sync", {"cursors": {_ID: {"seq": 4, "change": 2, "clearedUpTo": 1}}}),
    ("typing", {"username": "fuzz_bob", "isTyping": True}),
    ("block_user", {"username": "fuzz_bob"}),
    ("unblock_user", {"username": "fuzz_bob"}),
    ("list_blocked", {"cursor": "WzFd", "limit": 5}),
    ("get_settings", {}),
    ("update_settings", {"messagesFrom": "requests", "readReceipts": False, "showPresence": "nobody"}),
    ("accept_chat", {"chatId": _ID}),
    ("decline_chat", {"chatId": _ID}),
    ("set_chat", {"chatId": _ID, "mutedUntil": "2030-01-01T00:00:00Z", "pinned": True, "archived": False}),
    ("report", {"chatId": _ID, "seq": 1, "reason": "spam", "note": "again"}),
    ("register_device", {"channel": "webpush", "address": "https://push.example/x", "keys": {"p256dh": "a"}}),
    (
        "register_device",
        {"channel": "fcm", "address": "token", "timeZone": "Europe/Berlin", "language": "de"},
    ),
    ("unregister_device", {"deviceId": _ID}),
    ("refresh_token", {"token": "a.b.c"}),
    ("connect", {}),
    ("catch_up", {"after": {_ID: 1}}),
)
_PACKETS: Final = (
    *(f"42{number}{json.dumps(event)}".encode() for number, event in enumerate(_EVENTS)),
    *(b"431[{}]", b"4315[]", b"40", b'40{"token":"a.b.c"}', b"41", b'44{"message":"x"}', b"40/admin,{}"),
    *(
        b'451-["send_message",{"_placeholder":true,"num":0}]',
        b'461-1["x"]',
        b"2",
        b"3",
        b"2probe",
        b"5",
        b"6",
    ),
    *(b"1", b'0{"sid":"x"}', b"bAAEC", b""),
)
_MESSAGES: Final = tuple(packet for packet in _PACKETS if packet.startswith(b"4"))
_REQUESTS: Final = (
    b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: edge\r\n\r\n",
    b"GET /socket.io/?EIO=4&transport=polling&sid=abc&j=0 HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n",
    b"POST /socket.io/?EIO=4&transport=polling&sid=abc HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n42[]",
    b"POST /socket.io/?EIO=4 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n42[]\r\n0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: edge\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n",
    handshake(),
    handshake(b"&sid=abc", b"Origin: http://[\r\nSec-WebSocket-Protocol: a, b\r\n"),
)
_TOKENS: Final = (
    *(b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"-", b"/", b"?", b"\x00", b"\xff", b"\xed\xa0\x80"),
    *(
        b"\\u0000",
        b"\\ud800",
        b"null",
        b"true",
        b"1e999",
        b"-0",
        b"9" * 400,
        b"\xc2\xb2",
        b"[" * 200,
        b"{}" * 50,
    ),
    *(
        b"\r\n",
        b"\n",
        b"\x1b[2J",
        b"\xe2\x80\xae",
        b"%00",
        b"%0a",
        b"__class__",
        b"_placeholder",
        b"\x1e",
        b" ",
    ),
)


@dataclass(frozen=True)
class Burst:
    """What one attacker sends on one connection."""

    kind: Kind
    parts: list[bytes]


class Mutator:
    """A source of bursts."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def burst(self) -> Burst:
        """Return the next burst."""
        kind = self._random.choice(KINDS)
        count = self._random.randint(1, 8) if kind == "request" else self._random.randint(20, 200)
        return Burst(kind, [self._part(kind) for _ in range(count)])

    def _part(self, kind: Kind) -> bytes:
        if kind == "request":
            return self._mutated(self._random.choice(_REQUESTS))
        packet = self._random.choice(_MESSAGES if kind == "member" else _PACKETS)
        if kind == "frames":
            opcode = self._random.choice((TEXT, TEXT, TEXT, 0, 2, PING, CLOSE, self._random.randrange(16)))
            good = frame(opcode, packet[: 125 if opcode >= CLOSE else None], fin=self._random.random() < 0.8)
            return good if self._random.random() < 0.9 else self._mutated(good)
        if kind == "member":
            # Anything but a text message would end the connection.
            return b"4" + self._mutated(packet[1:]).decode(errors="replace").encode()
        return self._mutated(packet)

    def _mutated(self, data: bytes) -> bytes:
        for _ in range(self._random.choice((0, 1, 1, 2, 3, 5))):
            data = self._mutate(data)
        return data

    def _mutate(self, data: bytes) -> bytes:
        start = self._random.randint(0, len(data))
        end = min(len(data), start + self._random.choice((0, 1, 1, 2, 4, 16)))
        piece = data[start:end]
        match self._random.randrange(6):
            case 0:
                piece = bytes(self._random.randrange(256) for _ in piece)
            case 1:
                piece = b""
            case 2:
                piece *= self._random.choice((2, 3, 50))
            case 3:
                piece = self._random.choice(_TOKENS)
            case 4:
                piece += self._random.choice(_TOKENS) * self._random.choice((1, 2, 40))
            case _:
                other = self._random.choice(_PACKETS)
                piece = other[self._random.randint(0, len(other)) :]
        return data[:start] + piece + data[end:]
