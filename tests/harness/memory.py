"""Where the files of a run are made: in memory, where there is enough of it."""

import os
from pathlib import Path
from typing import Final

import psutil

_PLACE: Final = Path("/dev/shm")
_ROOM: Final = 6 * 1024**3
"""A run takes up to half of it."""


def memory() -> str | None:
    """Return a folder in memory. Postgres makes its thousands of files there in a tenth of the time.

    None if there is not enough room for all workers, or if programs in it cannot be run.
    """
    if not os.access(_PLACE, os.W_OK):
        return None
    found = os.statvfs(_PLACE)
    room = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    return str(_PLACE) if room >= _ROOM and not found.f_flag & os.ST_NOEXEC else None
