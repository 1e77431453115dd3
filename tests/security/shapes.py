"""Hypothesis strategies for what a client may send, from nonsense to almost valid."""

from typing import Any

import msgspec
from hypothesis import strategies as st

NASTY = (
    "",
    "\0",
    "a\0b",
    "\ud800",
    "\u202e",
    "\r\n",
    "\x1b[2J",
    "%",
    "' OR 1=1 --",
    "null",
    "💥",
    "ß",
    "ﬃ",
    "\u0130",
)

texts = st.sampled_from(NASTY) | st.text(max_size=80)
numbers = st.integers() | st.sampled_from([0, -1, 2**31, 2**63 - 1, 2**63, 10**30]) | st.floats()
scalars = st.none() | st.booleans() | numbers | texts
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

FIELDS = (
    *("username", "text", "clientId", "chatId", "upTo", "before", "after", "limit", "cursor", "cursors"),
    *(
        "isTyping",
        "channel",
        "address",
        "keys",
        "timeZone",
        "language",
        "deviceId",
        "token",
        "spans",
        "announce",
        "lostS",
    ),
)

objects = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=6)


def encode(value: object) -> bytes:
    """Render as JSON as a careless client would, with any text or number that Python has."""
    if isinstance(value, dict):
        return b"{%b}" % b",".join(b"%b:%b" % (encode(str(k)), encode(v)) for k, v in value.items())
    if isinstance(value, list):
        return b"[%b]" % b",".join(map(encode, value))
    if isinstance(value, str):
        return b'"%b"' % "".join(_escaped(c) for c in value).encode()
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):
        return b"1e999"
    return str(value).encode() if type(value) is int else msgspec.json.encode(value)


def _escaped(character: str) -> str:
    if character in '"\\' or ord(character) < 32 or "\ud800" <= character <= "\udfff":
        return f"\\u{ord(character):04x}"
    return character


payloads = st.one_of(objects.map(encode), values.map(encode), st.binary(max_size=60))
