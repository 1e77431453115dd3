"""`make attack`: runs every attack of the tests against an edge and prints the results.

Writes the table into docs/guarantees.md. Exits with 1 if an attack succeeded.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.security.siege import FINDING
from tests.security.table import Row, render

_FOLDER = Path(__file__).parent
_PAGE = _FOLDER.parents[1] / "docs" / "guarantees.md"
_TABLE = re.compile(r"(?<=<!-- attacks -->\n).*(?=<!-- end of attacks -->)", re.DOTALL)


class _Recorder:
    """Collects what pytest reports."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self.rows += [Row.of(value) for name, value in report.user_properties if name == FINDING]

    def broken(self) -> list[Row]:
        """Return a row for each attack that succeeded."""
        names = (nodeid.partition("::")[2].removeprefix("test_") for nodeid in sorted(self.failed))
        return [Row(name.replace("_", " "), "", "", "-", "-", "-", held=False) for name in names]


def main(arguments: Sequence[str]) -> int:
    """Run the tests, then print the table and write it to the page."""
    recorder = _Recorder()
    status = pytest.main(["-q", str(_FOLDER), *arguments], plugins=[recorder])
    table = render([*recorder.rows, *recorder.broken()])
    print(f"\n{table}")
    _PAGE.write_text(_TABLE.sub(lambda _: f"\n{table}\n\n", _PAGE.read_text()))
    return int(status != pytest.ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
