"""Tells whether text is JSON as JavaScript reads it, which is what clients are held to."""

import json
import re
from typing import Any, Final

import msgspec

_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+|([\[{])|[\]}]', re.DOTALL)
"""A string (whose brackets do not count), an opening bracket (group 1) or a closing one.

The closing quote is optional: otherwise every quote in an unfinished string would start a scan to the end.
"""

DEPTH: Final = 32
"""How deeply a payload may be nested. Decoders recurse, and a failure later on would fail a whole batch."""


def is_too_deep(encoded: bytes, depth: int = DEPTH) -> bool:
    """Tell whether a JSON text is nested deeper than this. It need not be valid."""
    if encoded.count(b"[") + encoded.count(b"{") <= depth:
        return False
    level = 0
    for match in _BRACKET.finditer(encoded):
        if match[0][:1] != b'"':
            level += 1 if match[1] else -1
            if level > depth:
                return True
    return False


def parse_shape(text: str) -> Any:
    """Return the value of a JSON text. It shows the types only: a number may have lost its value.

    msgspec, which is faster, also refuses half of a surrogate pair, which JavaScript accepts.

    Raises ValueError.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_int=float)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def is_array(text: str) -> bool:
    """Tell whether a text is a JSON array."""
    return _is_a(list, text, _array)


def is_object(text: str) -> bool:
    """Tell whether a text is a JSON object."""
    return _is_a(dict, text, _object)


def _is_a(kind: type, text: str, decoder: msgspec.json.Decoder[Any]) -> bool:
    try:
        decoder.decode(text)
    except (ValueError, RecursionError):
        try:
            return isinstance(parse_shape(text), kind)
        except ValueError:
            return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
