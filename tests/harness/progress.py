"""A line for each finished file of tests, instead of a dot for each test of every worker."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import pytest

_SILENCE_S: Final = 10.0
"""After that long without a line, the test that has been running longest is named."""


class Progress:
    """Prints the progress of a run on several workers. Belongs to the process that controls them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._tests: Counter[str] = Counter()
        """How many tests each file has."""
        self._done: Counter[str] = Counter()
        self._outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self._took_s: defaultdict[str, float] = defaultdict(float)
        self._running: dict[str, float] = {}
        """When each running test started, in monotonic seconds."""
        self._began_at = self._printed_at = time.monotonic()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._break_silence, daemon=True)
        self._watch.start()

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Learn which tests there are; every worker collects the same."""
        self._tests = Counter(map(_file_of, ids))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note that a test is running."""
        self._running[nodeid] = time.monotonic()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count a test for the summary without printing a letter."""
        if not isinstance(report, pytest.TestReport) or hasattr(report, "wasxfail"):
            return None
        if report.when == "call" or not report.passed:
            kind = "error" if report.failed and report.when != "call" else report.outcome
            return kind, "", ""
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count, and print a failure at once."""
        file = _file_of(report.nodeid)
        self._took_s[file] += report.duration
        if report.when == "call" or not report.passed:
            self._outcomes[file][report.outcome] += 1
        if report.failed:
            self._print(f"FAILED {report.nodeid}")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Print a line after the last test of a file."""
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
        reporter: pytest.TerminalReporter | None = self._config.pluginmanager.getplugin("terminalreporter")
        assert reporter is not None
        done, total = self._done.total(), self._tests.total()
        self._printed_at = time.monotonic()
        minutes, seconds = divmod(int(self._printed_at - self._began_at), 60)
        reporter.write_line(f"[{100 * done // max(total, 1):3}% {minutes:2}:{seconds:02}] {line}")
        reporter.flush()

    def _break_silence(self) -> None:
        while not self._over.wait(1):
            running = self._running.copy()
            now = time.monotonic()
            if running and now - self._printed_at > _SILENCE_S:
                longest = min(running, key=running.__getitem__)
                self._print(f"running for {now - running[longest]:.0f} s: {longest}")


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]
