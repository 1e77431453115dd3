"""The last release is taken from the history, or its absence is said in one line."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.compat.release import NoHistory, last_release
from tests.harness.deployment import OTHER_RELEASE


def test_a_checkout_without_the_last_release_says_so_in_one_line(tmp_path: Path) -> None:
    shallow = replace(last_release(), commit="0" * 40)
    with pytest.raises(NoHistory, match=r"^release [\d.]+ \(0000000\) is not in the history .*unshallow`$"):
        shallow.extract(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_the_last_release_runs_its_code_and_not_ours(tmp_path: Path) -> None:
    last_release().extract(tmp_path)
    python = OTHER_RELEASE[: OTHER_RELEASE.index("-m")]
    done = subprocess.run(
        [*python, "-c", "import infra, socket_edge, workers; print(infra.__file__, workers.__file__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [f"{tmp_path}/{name}/__init__.py" for name in ("infra", "workers")]
