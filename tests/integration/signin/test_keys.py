"""The key that signs the tokens of a local stack may be damaged."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.testing import capture_logs

from infra.local.signin.keys import load_key


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "garbage": lambda path: path.write_bytes(os.urandom(1_000)),
    "another curve": lambda path: path.write_bytes(pem(ec.generate_private_key(ec.SECP384R1()))),
    "RSA": lambda path: path.write_bytes(pem(rsa.generate_private_key(65537, 2048))),
    "folder": folder_instead,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_signing_key_is_replaced_and_that_is_said(tmp_path: Path, damage: str) -> None:
    before = load_key(tmp_path)
    DAMAGE[damage](tmp_path / "key.pem")
    with capture_logs() as logs:
        after = load_key(tmp_path)
    assert [line["event"] for line in logs] == ["signing_key_damaged"]
    assert after.kid != before.kid
    assert load_key(tmp_path).kid == after.kid
