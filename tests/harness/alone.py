"""Tests marked `alone` run when all other tests are done.

They measure memory or time, and a busy machine would distort that. Every worker of pytest-xdist holds a
shared lock while it runs ordinary tests, and lets go of it only when none is next. So whoever gets an
exclusive lock knows that all of them are done. Two tests marked `alone` may run side by side: see `schedule`.
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
        self._are_others_done = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        """Run an ordinary test, with its fixtures, while the lock is held; any other after those."""
        alone = _is_alone(item)
        if alone:
            self._wait_for_others()
        elif not self._is_shared:
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            self._is_shared = True
        try:
            return (yield)
        finally:
            if self._is_shared and (nextitem is None or _is_alone(nextitem)):
                fcntl.flock(self._lock, fcntl.LOCK_UN)
                self._is_shared = False

    def _wait_for_others(self) -> None:
        if not self._are_others_done:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._are_others_done = True


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
