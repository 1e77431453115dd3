"""The key with which the local stack signs Web Push notifications (RFC 8292), made once per data folder."""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Final

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

log = structlog.get_logger(__name__)

_NAME: Final = "vapid.json"
_KEY_BYTES: Final = 32


class VapidKey(msgspec.Struct, frozen=True):
    """Both halves, base64url: browsers subscribe with the public one."""

    private: str
    public: str


def vapid_key(folder: Path) -> VapidKey:
    """Return the key of a data folder; only its owner can read it.

    A damaged one is moved aside, and a new one takes its place: browsers subscribe again.
    """
    file = folder / _NAME
    try:
        return _read(file)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        damaged = file.with_suffix(".damaged")
        log.warning("vapid_key_damaged", path=str(file), error=type(error).__name__, moved_to=str(damaged))
        os.replace(file, damaged)
    key = _key_of(ec.generate_private_key(ec.SECP256R1()))
    fresh = file.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as out:
        out.write(msgspec.json.encode(key))
    os.replace(fresh, file)
    return key


def _read(file: Path) -> VapidKey:
    """Read a key. A damaged one may raise any exception."""
    key = msgspec.json.decode(file.read_bytes(), type=VapidKey)
    number = int.from_bytes(urlsafe_b64decode(key.private + "=" * (-len(key.private) % 4)))
    if key != _key_of(ec.derive_private_key(number, ec.SECP256R1())):
        raise ValueError("the halves of the key do not belong together")
    return key


def _key_of(key: ec.EllipticCurvePrivateKey) -> VapidKey:
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    secret = key.private_numbers().private_value.to_bytes(_KEY_BYTES)
    return VapidKey(_base64url(secret), _base64url(point))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
