"""The data folder of a local stack, which only one stack can use at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import CommandError


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Create the folder and lock it for this process. Raises CommandError if another stack holds it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise CommandError(
            f"the data folder {folder} cannot be written ({error.strerror}); "
            "make it writable, or set BBGRAM_DATA_DIR to another folder"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(
                f"a local stack already runs in {folder}; stop it, "
                "or set BBGRAM_DATA_DIR (and PORT) to start another one"
            ) from error
        yield
