"""`make attack`: attacks an edge in every way that the tests know, and prints what became of it.

Writes the table into docs/guarantees.md. Exits with 1 when an attack has succeeded.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.security.elsewhere import ELSEWHERE, Elsewhere
from tests.security.siege import FINDING
from tests.security.table import Row, render

_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parents[1]
_PAGE = _ROOT / "docs" / "guarantees.md"
_TABLE = re.compile(r"(?<=<!-- attacks -->\n).*(?=<!-- end of attacks -->)", re.DOTALL)


class _Recorder:
    """Listens to pytest."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.failed: set[str] = set()
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
            self.rows += [Row.of(value) for name, value in report.user_properties if name == FINDING]

    def row_of(self, known: Elsewhere) -> Row:
        """Return the row of an attack whose tests are elsewhere: it held if they ran, and all passed."""
        held = all(self._ran(test, self.passed) and not self._ran(test, self.failed) for test in known.tests)
        return Row(known.attack, known.sent, known.outcome, "-", "-", held)

    def broken(self) -> list[Row]:
        """Return a row for each attack here that has succeeded."""
        here = _FOLDER.relative_to(_ROOT).as_posix()
        return [
            Row(
                nodeid.partition("::")[2].removeprefix("test_").replace("_", " "),
                "",
                "",
                "-",
                "-",
                held=False,
            )
            for nodeid in sorted(self.failed)
            if nodeid.startswith(here)
        ]

    @staticmethod
    def _ran(test: str, nodeids: set[str]) -> bool:
        return any(nodeid == test or nodeid.startswith((f"{test}::", f"{test}[")) for nodeid in nodeids)


def main(arguments: Sequence[str]) -> int:
    """Run the tests, print the table, write it down."""
    recorder = _Recorder()
    others = dict.fromkeys(test for known in ELSEWHERE for test in known.tests)
    status = pytest.main(["-q", str(_FOLDER), *others, *arguments], plugins=[recorder])
    table = render([*recorder.rows, *map(recorder.row_of, ELSEWHERE), *recorder.broken()])
    print(f"\n{table}")
    _PAGE.write_text(_TABLE.sub(lambda _: f"\n{table}\n\n", _PAGE.read_text()))
    return int(status != pytest.ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
