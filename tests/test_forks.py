"""A fork of the harness is a process of its own: environment, folder, output and exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.forks import ForkedProcess, can_fork, run
from tests.harness.stack import clean_env

ROOT = Path(__file__).parents[1]


def test_a_fork_prints_and_ends_as_the_command_does() -> None:
    words = ["edge", "--port", "many"]
    ordinary = subprocess.run([sys.executable, "-m", "infra.cli", *words], capture_output=True, text=True)
    forked = run(words, os.environ)
    assert (forked.returncode, forked.stdout) == (ordinary.returncode, ordinary.stdout) == (2, "")
    assert forked.stderr == ordinary.stderr


def test_a_fork_knows_only_the_environment_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    without = clean_env({})
    monkeypatch.setenv("BBGRAM_REDIS_URL", "redis://of.the.tests")
    assert "BBGRAM_REDIS_URL is not set" in run(["edge"], without).stderr
    assert "BBGRAM_REDIS_URL is wrong" in run(["edge"], {**without, "BBGRAM_REDIS_URL": "of the fork"}).stderr


def test_a_fork_runs_in_the_folder_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / ".bbgram").mkdir()
    (tmp_path / ".bbgram" / "stack.env").touch()
    assert f"in {tmp_path / '.bbgram'}" in run(["edge"], clean_env({}), folder=tmp_path).stderr


def test_a_fork_can_be_awaited_and_killed(tmp_path: Path) -> None:
    env = clean_env(
        {
            "BBGRAM_DATABASE_URL": "postgresql://127.0.0.1:1/none",
            "BBGRAM_DATA_DIR": str(tmp_path),
            "BBGRAM_REDIS_URL": "redis://127.0.0.1:1",
        }
    )
    with (tmp_path / "log").open("wb") as log:
        beat = ForkedProcess(["beat"], env, log.fileno(), log.fileno())
    with pytest.raises(subprocess.TimeoutExpired):
        beat.wait(0.01)
    assert beat.poll() is None
    beat.kill()
    assert beat.wait(10) == -9
    beat.kill()  # harms nobody


def test_what_python_reads_at_its_start_cannot_be_given_to_a_fork() -> None:
    assert can_fork({**os.environ, "BBGRAM_LANES": "1"})
    assert not can_fork({**os.environ, "PYTHONPATH": "elsewhere"})
    assert not can_fork({**os.environ, "LD_PRELOAD": "libfaketime.so.1"})


def test_a_fork_first_runs_what_an_added_folder_holds_for_that(tmp_path: Path) -> None:
    added = tmp_path / "added"
    added.mkdir()
    script = "import os, sys\nprint(os.environ['OF_THE_FORK'], *sys.orig_argv[1:], flush=True)\n"
    (added / "sitecustomize.py").write_text(script)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(added))), "OF_THE_FORK": "first"}
    command = [sys.executable, "-m", "infra.cli", "--version"]
    ordinary = subprocess.run(command, env=env, capture_output=True, text=True)
    assert can_fork(env)
    assert run(["--version"], env).stdout == ordinary.stdout
    assert ordinary.stdout.startswith("first -m infra.cli --version\n")
    (added / "infra.py").touch()
    assert not can_fork(env)
