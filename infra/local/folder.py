"""The data folder of a local stack, which only one stack can use at a time."""

import fcntl
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from infra.errors import CommandError
from infra.local.ports import another_port

_LOCK: Final = "lock"
"""Locked while a stack runs; holds its port."""


@contextmanager
def owned(folder: Path, port: int) -> Iterator[Callable[[], bool]]:
    """Create the folder and lock it for this process; give a function that tells whether it is still there.

    Raises CommandError if another stack holds it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a+")
    except OSError as error:
        raise CommandError(
            f"the data folder {folder} cannot be written ({error.strerror}); "
            "make it writable, or set BBGRAM_DATA_DIR to another folder"
        ) from error
    with lock:
        if not _lock(lock):
            raise _runs_already(folder)
        lock.truncate(0)
        print(port, file=lock, flush=True)
        yield lambda: _is_at(folder / _LOCK, lock)


def is_owned(folder: Path) -> bool:
    """Return whether a stack runs in the folder."""
    with suppress(OSError), (folder / _LOCK).open() as lock:
        return not _lock(lock)
    return False


def require_free(folder: Path) -> None:
    """Raise CommandError if a stack runs in the folder. Creates nothing."""
    if is_owned(folder):
        raise _runs_already(folder)


def _lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, lock: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock.fileno()))
    except OSError:
        return False


def _runs_already(folder: Path) -> CommandError:
    port = (folder / _LOCK).read_text().strip()
    where = f", on port {port}" if port else ""
    other = next(
        name
        for number in range(2, 1_000)
        if not os.path.lexists(name := folder.with_name(f"{folder.name}-{number}"))
    )
    another = another_port(int(port or 3000))
    return CommandError(
        f"a local stack already runs in {folder}{where}; stop it with Ctrl-C in its terminal, "
        f"or start another one: PORT={another} BBGRAM_DATA_DIR={shlex.quote(str(other))} make run"
    )
