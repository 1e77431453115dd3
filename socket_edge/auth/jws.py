"""Signed tokens (RFC 7515, compact form): takes them apart, and checks signatures with PyJWT's algorithms.

PyJWT itself reads the header twice, and looks at each character of a token in Python.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import Any, Final, NamedTuple

import jwt

_COMPACT: Final = re.compile(r"([\w-]+)\.([\w-]*)\.([\w-]*)", re.ASCII)
_HEADERS: Final = 64
"""Headers that are kept: the tokens of a project have as many as it has keys."""


class Jws(NamedTuple):
    """A token in parts. Nothing is verified yet."""

    header: dict[str, Any]
    payload: bytes
    signature: bytes
    signed: bytes
    """What the signature is for."""


class Key:
    """A key that verifies the signatures of one algorithm."""

    def __init__(self, algorithm: str, key: object) -> None:
        """Raises jwt.InvalidKeyError for a key of another kind."""
        self.algorithm = algorithm
        self._algorithm = jwt.get_algorithm_by_name(algorithm)
        self._key: Any = self._algorithm.prepare_key(key)
        self.weakness = self._algorithm.check_key_length(self._key)
        """Why it must not be used, if so."""

    def has_signed(self, jws: Jws) -> bool:
        """Tell whether a token, which says that it is signed with this algorithm, is signed with this key."""
        return self._algorithm.verify(jws.signed, self._key, jws.signature)


def read(token: str) -> Jws:
    """Take a token apart. Raises ValueError."""
    parts = _COMPACT.fullmatch(token)
    if parts is None:
        raise ValueError("not three parts in Base64")
    header, payload, signature = parts.groups()
    return Jws(
        header=_read_header(header),
        payload=_decode(payload),
        signature=_decode(signature),
        signed=token[: parts.end(2)].encode(),
    )


@lru_cache(maxsize=_HEADERS)
def _read_header(part: str) -> dict[str, Any]:
    """Return a header, which nobody may change. Raises ValueError, also for one that demands an extension."""
    header = read_object(_decode(part))
    if not isinstance(header.get("kid", ""), str) or "crit" in header or header.get("b64") is False:
        raise ValueError("the header asks for what is not supported")
    return header


def read_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError."""
    try:
        value = json.loads(data.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _decode(part: str) -> bytes:
    """Decode Base64 without padding. Raises ValueError unless it is what an encoder writes."""
    data = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        raise ValueError("not canonical")
    return data
