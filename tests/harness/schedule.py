"""Which worker of pytest-xdist runs which tests: whole files, those that take longest first."""

from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

_IN_PIECES: Final = ("tests/faults/test_short.py",)
"""Files whose tests share nothing and take long: each test is given out by itself."""

_FIRST: Final = ("tests/faults", "tests/e2e", "tests/conformance", "tests/integration")
"""Folders in the order in which they are given out; then come those that take little."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps the tests of a file together, because they share fixtures."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in _IN_PIECES else file


def order(items: list[pytest.Item]) -> None:
    """Put what takes long first, so that no worker begins with it when the others are through.

    Tests that run alone come last: until then every worker has something to do.
    """
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> tuple[bool, int]:
    folder = "/".join(item.nodeid.split("/")[:2])
    return (
        item.get_closest_marker("alone") is not None,
        _FIRST.index(folder) if folder in _FIRST else len(_FIRST),
    )
