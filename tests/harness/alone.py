"""Tests marked `alone` run while no other worker of pytest-xdist runs a test.

They measure memory or time, and a busy machine would distort that. Every test enters a room, and `alone` ones
have it to themselves. A test that waits for the room to empty holds the gate, so that no other overtakes it.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Alone:
    """Lets the tests of one worker into the room. All workers of a run share `folder`."""

    def __init__(self, folder: Path) -> None:
        self._gate = (folder / "gate").open("w")
        self._room = (folder / "room").open("w")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Run a test, with its fixtures, in the room."""
        with self._entered(alone=item.get_closest_marker("alone") is not None):
            return (yield)

    @contextmanager
    def _entered(self, *, alone: bool) -> Iterator[None]:
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            if not alone:
                fcntl.flock(self._gate, fcntl.LOCK_UN)
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)
            fcntl.flock(self._gate, fcntl.LOCK_UN)
