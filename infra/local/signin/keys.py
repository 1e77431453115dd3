"""The ES256 key that signs the tokens: created at the first start, kept in the data folder."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

log = structlog.get_logger(__name__)

ALGORITHM: Final = "ES256"


@dataclass(frozen=True)
class SigningKey:
    """A private key and the id of its published half."""

    private: ec.EllipticCurvePrivateKey
    kid: str

    def jwks(self) -> dict[str, Any]:
        """Return the public half as a JSON Web Key Set (RFC 7517)."""
        uses = {"alg": ALGORITHM, "kid": self.kid, "use": "sig", "key_ops": ["verify"], "ext": True}
        return {"keys": [{**_public_jwk(self.private), **uses}]}


def load_key(folder: Path) -> SigningKey:
    """Return the key in `folder`, created if there is none. Safe in several processes at once.

    A damaged key is moved aside, and a new one takes its place: users sign in again.
    """
    path = folder / "key.pem"
    if not path.exists():
        _write_once(path, _new_pem())
    try:
        return _read(path)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        damaged = path.with_suffix(".damaged")
        log.warning("signing_key_damaged", path=str(path), error=type(error).__name__, moved_to=str(damaged))
        path.rename(damaged)
    _write_once(path, _new_pem())
    return _read(path)


def _read(path: Path) -> SigningKey:
    private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise ValueError(f"{path} does not hold a key for {ALGORITHM}")
    return SigningKey(private, _thumbprint(_public_jwk(private)))


def _new_pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_once(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, unless another process was first."""
    handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    try:
        Path(path).hardlink_to(name)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()


def _public_jwk(private: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    return ECAlgorithm.to_jwk(private.public_key(), as_dict=True)


def _thumbprint(jwk: dict[str, Any]) -> str:
    """Return the thumbprint of a key (RFC 7638)."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
