"""API keys of the app's own backend: who may call the server API. Settings hold hashes, never a key."""

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, Self

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from infra.wire.server_api import Scope

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_KEY_BYTES: Final = 32
"""A key is random and this long, so a plain hash of it cannot be reversed."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What an edge knows of a key."""

    name: str
    """Who has it: a label in metrics."""
    scopes: frozenset[Scope]
    digest: bytes
    """SHA-256 of the key."""

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Read an entry of `API_KEYS`. Raises ValueError, which does not quote it."""
        name, _, rest = entry.partition(":")
        words, _, digest = rest.partition(":")
        if not is_key_name(name):
            raise ValueError("has no valid name: up to 32 of a-z, 0-9, - and _")
        if not _DIGEST.fullmatch(digest):
            raise ValueError("does not end with 64 hexadecimal digits; `bbgram api-key create` writes it")
        try:
            scopes = frozenset(map(Scope, words.split("+")))
        except ValueError:
            raise ValueError(f"has a scope that is none of {', '.join(Scope)}") from None
        return cls(name, scopes, bytes.fromhex(digest))

    def __str__(self) -> str:
        """Return the entry of `API_KEYS`."""
        scopes = "+".join(scope for scope in Scope if scope in self.scopes)
        return f"{self.name}:{scopes}:{self.digest.hex()}"


def is_key_name(name: str) -> bool:
    """Tell whether a key may have this name."""
    return _NAME.fullmatch(name) is not None


def digest_of(key: bytes) -> bytes:
    """Return what is kept of a key."""
    return sha256(key).digest()


def make_key(name: str, scopes: Collection[Scope]) -> tuple[str, ApiKey]:
    """Make a new key; return it, and what an edge is to know of it."""
    key = f"bbk_{secrets.token_urlsafe(_KEY_BYTES)}"
    return key, ApiKey(name, frozenset(scopes), digest_of(key.encode()))


def _parse(value: object) -> object:
    if not isinstance(value, str):
        return value
    keys = []
    for position, entry in enumerate(filter(None, map(str.strip, value.split(","))), 1):
        try:
            keys.append(ApiKey.parse(entry))
        except ValueError as error:
            raise ValueError(f"entry {position} {error}") from None
    return tuple(keys)


ApiKeyList = Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_parse)]
"""Keys separated by commas."""
