"""The users of the sign-in service."""

import os
from collections.abc import Callable
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


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A file of many pages."""
    path = tmp_path / "users.sqlite3"
    with Accounts(path).open() as accounts:
        for number in range(300):
            accounts.add_user(f"user{number}@chat.test", f"user{number}", "a hash", {"about": "x" * 100})
    return path


@pytest.mark.parametrize("filling", [bytes, os.urandom])
@pytest.mark.parametrize("page", [1, 5, -1])
def test_damage_behind_the_first_page_is_noticed_at_the_start(
    full: Path, page: int, filling: Callable[[int], bytes]
) -> None:
    pages = full.read_bytes()
    start = page * 4_096 % len(pages)
    full.write_bytes(pages[:start] + filling(4_096) + pages[start + 4_096 :])
    with pytest.raises(CommandError, match=rf"^{full} is damaged \(.*\); restore it, or delete it, and"):
        Accounts(full)


def test_a_file_that_is_whole_keeps_its_users(full: Path) -> None:
    with Accounts(full).open() as accounts:
        assert accounts.user_by_username("user299") is not None


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite3"
    path.mkdir()
    with pytest.raises(CommandError, match=rf"^{path} cannot be used \(unable to open database file\)$"):
        Accounts(path)
