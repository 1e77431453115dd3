"""Runs `bbgram` with a clock for the lives of tokens that a test moves: a file says by how many seconds.

So a test need not come to its turn within the seconds for which a token lives.
"""

import runpy
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from socket_edge.chat import heartbeat


class MovedClock:
    """The clock of an edge that was started with `program`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.program = (sys.executable, "-m", __name__, str(file))
        self.move(0)

    def move(self, seconds: float) -> None:
        """Let the edge take the time for that many seconds later than it is."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._file)


def _main() -> None:
    file = Path(sys.argv.pop(1))
    patched: Any = heartbeat
    patched.time = SimpleNamespace(
        time=lambda: time.time() + float(file.read_text()), monotonic=time.monotonic
    )
    runpy.run_module("infra.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
