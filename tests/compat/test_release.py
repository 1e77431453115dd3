"""The last release is taken from the history, or its absence is said in one line."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.compat.release import NoHistory, last_release


def test_a_checkout_without_the_last_release_says_so_in_one_line(tmp_path: Path) -> None:
    shallow = replace(last_release(), commit="0" * 40)
    with pytest.raises(NoHistory, match=r"^release [\d.]+ \(0000000\) is not in the history .*unshallow`$"):
        shallow.extract(tmp_path)
    assert list(tmp_path.iterdir()) == []
