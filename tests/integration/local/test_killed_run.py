"""A test run that is killed leaves no process behind."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from infra.local.tether import tether
from tests.harness.stack import clean_env, command_line, is_gone
from tests.harness.waiting import eventually

ROOT = Path(__file__).parents[3]

ENDLESS_TEST = """
import signal
from pathlib import Path

from tests.harness.deployment import Part


def test_that_never_ends(chat, tmp_path):
    ordinary = Part(["beat"], chat.env, tmp_path / "beat.log")
    Path(__file__).with_name("began").touch()
    signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_run(tmp_path: Path, number: signal.Signals) -> None:
    endless = tmp_path / "test_endless.py"
    endless.write_text(ENDLESS_TEST)
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml"]
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            tether(
                [sys.executable, "-m", "pytest", *options, f"--basetemp={tmp_path / 'run'}", str(endless)]
            ),
            cwd=ROOT,
            env=clean_env({}),
            stdout=log,
            stderr=log,
        )
    try:
        began = tmp_path / "began"
        eventually(lambda: began.exists() or run.poll() is not None, "the test begins")
        assert began.exists(), (tmp_path / "log").read_text()
        family = psutil.Process(run.pid).children(recursive=True)
        lines = [command_line(one) for one in family]
        assert sum("infra.cli" in line for line in lines) == 1
        assert sum("tests.harness.forks" in line for line in lines) == 1 + 2 * 4
    finally:
        run.send_signal(number)
        run.wait(10)
    eventually(lambda: all(is_gone(one) for one in family), "all of its processes are gone")
