"""The local stack as a person starts it: `bbgram dev` in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil

from infra.local.parts import http_ok
from infra.local.stack_env import read_stack_env
from infra.local.tether import tether
from tests.harness.forks import run
from tests.harness.waiting import PATIENCE_S, eventually

DOCTOR_S: Final = 0.5
"""Pause between two questions to the doctor, which is a process each time."""
LOOK_S: Final = 0.1
"""Pause between two looks at the parts, each of which reads about every process of the machine."""
_LEFT_OUT = ("BBGRAM_", "COVERAGE_", "PORT")


def is_gone(process: psutil.Process) -> bool:
    """Return whether the process has ended, reaped or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def command_line(process: psutil.Process) -> str:
    """Return the command line of a process, or an empty text if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def bbgram(
    *words: str, env: dict[str, str], folder: Path | None = None, stdin: str = "", forked: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with no BBGRAM setting but those given; in another folder if told so."""
    if forked:
        return run(words, clean_env(env), folder=folder, stdin=stdin)
    return subprocess.run(
        tether([sys.executable, "-m", "infra.cli", *words]),
        env=clean_env(env),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def clean_env(env: dict[str, str]) -> dict[str, str]:
    """Return this environment with its BBGRAM settings replaced by the given ones.

    Coverage is not measured there: it makes a start 50 % slower, and other tests run the same lines.
    """
    rest = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    return {**rest, **env}


class LocalStack:
    """One run of `bbgram dev`. It never outlives the process that runs the tests."""

    def __init__(self, folder: Path, port: int, **env: str) -> None:
        self.folder = folder
        self.port = port
        self.env = {"BBGRAM_DATA_DIR": str(folder), "PORT": str(port), **env}
        self._log = folder.with_name(f"{folder.name}.log")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                tether([sys.executable, "-m", "infra.cli", "dev"]),
                env=clean_env(self.env),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """Everything it has printed so far."""
        return self._log.read_text()

    @property
    def addresses(self) -> dict[str, str]:
        """The settings it publishes to other processes."""
        return read_stack_env(self.folder)

    def is_ready(self) -> bool:
        """Return whether its edge is ready."""
        return http_ok(self.port, "/readyz")()

    def wait_started(self) -> "LocalStack":
        """Wait until it reports that it is running."""
        try:
            eventually(lambda: "is running" in self.log or self.process.poll() is not None, "it starts")
            assert "is running" in self.log
            eventually(
                lambda: self.part("infra.cli", "--functions") is not None,
                "the last part is started",
                pause_s=LOOK_S,
            )
        except AssertionError:
            self.stop()
            raise AssertionError(f"the stack did not start:\n{self.log}") from None
        return self

    def family(self) -> list[psutil.Process]:
        """Return every process that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def part(self, *words: str) -> psutil.Process | None:
        """Return the running process whose command line contains all these words, if there is one."""
        found = [one for one in self.family() if all(word in command_line(one) for word in words)]
        return found[0] if len(found) == 1 else None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, wait until it has ended, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the stack did not stop within {PATIENCE_S:.0f} s:\n{self.log}") from None
