"""The order in which tests are handed out names tests that exist."""

from pathlib import Path

import pytest

from tests.harness import schedule

ROOT = Path(__file__).parents[1]
TESTS = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
PLACES = {*schedule.LONGEST, *(place for places in schedule.STACKS.values() for place in places)}


@pytest.mark.parametrize("place", sorted(PLACES))
def test_each_place_in_the_schedule_has_tests(place: str) -> None:
    assert [test for test in TESTS if test.startswith(place)]
