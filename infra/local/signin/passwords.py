"""Password hashes: scrypt, with salt and cost stored next to the hash."""

import hashlib
import hmac
import secrets
from typing import Final

_COST: Final = 2**14
_BLOCK: Final = 8
_MEMORY_BYTES: Final = 64 * 1024 * 1024


def hash_password(password: str) -> str:
    """Return `scrypt$cost$salt$hash`."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_COST}${salt.hex()}${_scrypt(password, salt, _COST).hex()}"


def matches(password: str, hashed: str) -> bool:
    """Return whether `hashed` is the hash of `password`."""
    _, cost, salt, expected = hashed.split("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt), int(cost)), bytes.fromhex(expected))


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=_BLOCK, p=1, maxmem=_MEMORY_BYTES)
