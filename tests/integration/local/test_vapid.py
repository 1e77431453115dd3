"""The key of the local stack for notifications to browsers."""

import stat
from base64 import urlsafe_b64encode
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from functions.channels.web_push import load_key
from infra.local.vapid import VapidKey, vapid_key


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    key = vapid_key(tmp_path)
    assert vapid_key(tmp_path) == key
    assert [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()] == [0o600]


def test_browsers_subscribe_with_the_half_that_belongs_to_what_the_channel_signs_with(tmp_path: Path) -> None:
    key = vapid_key(tmp_path)
    point = load_key(key.private).public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert urlsafe_b64encode(point).rstrip(b"=").decode() == key.public


DAMAGE: dict[str, bytes] = {
    "empty": b"",
    "cut": b"{",
    "no Unicode": b'{"private": "\xff", "public": "\xff"}',
    "deep": b"[" * 100_000,
    "another form": b'{"private": 1}',
    "no key": b'{"private": "AA", "public": "BB"}',
    "no base64": '{"private": "é", "public": "BB"}'.encode(),
    "too large": b'{"private": "%b", "public": "BB"}' % (b"A" * 3 + b"_" * 100),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_replaced_and_that_is_said(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "vapid.json"
    file.write_bytes(DAMAGE[damage])
    with capture_logs() as logs:
        key = vapid_key(tmp_path)
        assert vapid_key(tmp_path) == key
    assert [line["event"] for line in logs] == ["vapid_key_damaged"]
    assert file.with_suffix(".damaged").read_bytes() == DAMAGE[damage]


def test_a_key_whose_halves_do_not_belong_together_is_replaced(tmp_path: Path) -> None:
    first = vapid_key(tmp_path)
    (tmp_path / "vapid.json").unlink()
    second = vapid_key(tmp_path)
    (tmp_path / "vapid.json").write_bytes(msgspec.json.encode(VapidKey(first.private, second.public)))
    assert vapid_key(tmp_path).public not in (first.public, second.public)


def test_a_folder_in_its_place_is_moved_aside(tmp_path: Path) -> None:
    (tmp_path / "vapid.json").mkdir()
    assert vapid_key(tmp_path) == vapid_key(tmp_path)
