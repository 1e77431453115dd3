"""How this program is called from here, so that hints name commands that work."""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_COMMAND: Final = re.compile(r"`bbgram ([^`]*)`")


def program() -> str:
    """Return what to type: `bbgram`, or the path to it if the shell would not find it."""
    path = Path(sys.argv[0])
    if path.suffix == ".py" or shutil.which(path.name) == os.path.abspath(path):
        return "bbgram"
    if os.getcwd() == os.sep:
        return os.path.abspath(path)  # as in a service
    return min(os.path.relpath(path), os.path.abspath(path), key=len)


def with_program(text: str, options: Sequence[str] = ()) -> str:
    """Return a text whose commands, written as `bbgram ...`, can be typed as they are, with these options."""
    return _COMMAND.sub(lambda found: f"`{' '.join((program(), found[1], *options))}`", text)
