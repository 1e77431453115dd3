"""A line for each file of tests that is through, instead of a dot for each test of every worker."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import pytest

_SILENCE_S: Final = 10.0
"""After that long without a line, the tests that run are named."""


class Progress:
    """Prints how far a run on several workers is. Belongs to the process that controls them."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._tests: Counter[str] = Counter()
        """How many tests each file has."""
        self._done: Counter[str] = Counter()
        self._outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self._took_s: Counter[str] = Counter()
        self._running: dict[str, float] = {}
        """When each test that runs has started, in monotonic seconds."""
        self._printed_at = time.monotonic()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._break_silence, daemon=True)
        self._watch.start()

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Learn what there is to do; every worker finds the same."""
        self._tests = Counter(map(_file_of, ids))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note that a test runs."""
        self._running[nodeid] = time.monotonic()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Have no letter printed for a test; it is still counted for the summary."""
        if not isinstance(report, pytest.TestReport) or hasattr(report, "wasxfail"):
            return None
        if report.when == "call" or not report.passed:
            kind = "error" if report.failed and report.when != "call" else report.outcome
            return kind, "", ""
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count; print a failure at once."""
        file = _file_of(report.nodeid)
        self._took_s[file] += report.duration
        if report.when == "call" or not report.passed:
            self._outcomes[file][report.outcome] += 1
        if report.failed:
            self._print(f"FAILED {report.nodeid}")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Print a line if the test was the last one of its file."""
        self._running.pop(nodeid, None)
        file = _file_of(nodeid)
        self._done[file] += 1
        if self._done[file] == self._tests[file]:
            counts = ", ".join(f"{count} {outcome}" for outcome, count in self._outcomes[file].items())
            self._print(f"{file}: {counts} in {self._took_s[file]:.1f} s")

    def pytest_sessionfinish(self) -> None:
        """Stop watching."""
        self._over.set()
        self._watch.join()

    def _print(self, line: str) -> None:
        done, total = self._done.total(), self._tests.total()
        self._reporter.write_line(f"[{100 * done // max(total, 1):3}%] {line}")
        self._reporter.flush()
        self._printed_at = time.monotonic()

    def _break_silence(self) -> None:
        while not self._over.wait(1):
            now = time.monotonic()
            if self._running and now - self._printed_at > _SILENCE_S:
                running = sorted(self._running.copy().items(), key=lambda one: one[1])
                for nodeid, since in running:
                    self._print(f"... {nodeid} ({now - since:.0f} s)")


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]
