"""The users of the sign-in service."""

from pathlib import Path

import pytest

from infra.errors import CommandError
from infra.local.signin.accounts import Accounts


@pytest.mark.parametrize("kept", [0.1, 0.5])
def test_a_damaged_file_is_named(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "users.sqlite3"
    Accounts(path)
    whole = path.read_bytes()
    size = int(len(whole) * kept)
    path.write_bytes(b"garbage" * (size // 7))
    with pytest.raises(CommandError, match=rf"^{path} is damaged \(.*\); restore it, or delete it, and"):
        Accounts(path)
