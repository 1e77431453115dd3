"""The key with which the local stack signs Web Push notifications (RFC 8292), made once per data folder."""

import os
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final

import msgspec

_NAME: Final = "vapid.json"
_KEY_BYTES: Final = 32


class VapidKey(msgspec.Struct, frozen=True):
    """Both halves, base64url: browsers subscribe with the public one."""

    private: str
    public: str


def vapid_key(folder: Path) -> VapidKey:
    """Return the key of a data folder; only its owner can read it."""
    file = folder / _NAME
    try:
        return msgspec.json.decode(file.read_bytes(), type=VapidKey)
    except (FileNotFoundError, msgspec.DecodeError):
        key = _new_key()
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as out:
            out.write(msgspec.json.encode(key))
        return key


def _new_key() -> VapidKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    secret = key.private_numbers().private_value.to_bytes(_KEY_BYTES)
    return VapidKey(_base64url(secret), _base64url(point))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
