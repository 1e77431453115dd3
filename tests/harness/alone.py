"""Tests marked `alone` run while no other worker of pytest-xdist runs a test.

They measure memory or time, and a busy machine would distort that. Every worker holds a shared lock while it
runs tests, and an exclusive one for those marked `alone`. It lets go of the shared one only when no ordinary
test is next, so that `alone` ones wait until all others are done instead of taking turns with them.
"""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest


class Alone:
    """Lets the tests of one worker run. All workers of a run share `folder`."""

    def __init__(self, folder: Path) -> None:
        self._lock = (folder / "lock").open("w")
        self._is_shared = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        """Run a test, with its fixtures, while the lock is held."""
        alone = _is_alone(item)
        if alone or not self._is_shared:
            fcntl.flock(self._lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            self._is_shared = not alone
        try:
            return (yield)
        finally:
            if alone or nextitem is None or _is_alone(nextitem):
                fcntl.flock(self._lock, fcntl.LOCK_UN)
                self._is_shared = False


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
