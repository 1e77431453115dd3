"""Prints the lines of all parts, each after the name of its part."""

import contextlib
import os
import sys
from itertools import cycle
from typing import Final, TextIO

_COLOURS: Final = (36, 32, 33, 35, 34, 96, 92, 93)
_WIDTH: Final = 9


class Terminal:
    """Prints to one stream, in colour if it is a terminal."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._colourful = stream.isatty() and not os.environ.get("NO_COLOR")
        self._unused = cycle(_COLOURS)
        self._colours: dict[str, int] = {}

    def line(self, part: str, text: str) -> None:
        """Print one line of a part."""
        label = f"{part:<{_WIDTH}} |"
        if self._colourful:
            if part not in self._colours:
                self._colours[part] = next(self._unused)
            label = f"\x1b[{self._colours[part]}m{label}\x1b[0m"
        self.plain(f"{label} {text}")

    def plain(self, text: str) -> None:
        """Print text unchanged. A closed stream is not an error."""
        with contextlib.suppress(OSError):
            print(text, file=self._stream, flush=True)
