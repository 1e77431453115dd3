"""The key of the local stack for notifications to browsers."""

import stat
from base64 import urlsafe_b64encode
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from functions.channels.web_push import load_key
from infra.local.vapid import vapid_key


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    key = vapid_key(tmp_path)
    assert vapid_key(tmp_path) == key
    assert [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()] == [0o600]


def test_browsers_subscribe_with_the_half_that_belongs_to_what_the_channel_signs_with(tmp_path: Path) -> None:
    key = vapid_key(tmp_path)
    point = load_key(key.private).public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert urlsafe_b64encode(point).rstrip(b"=").decode() == key.public


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "vapid.json"
    file.write_text("{")
    key = vapid_key(tmp_path)
    assert key.public in file.read_text()
