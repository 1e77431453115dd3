"""A short form of `make faults`: some of the faults, with fewer messages."""

import pytest

from tests.faults.faults import FAULTS
from tests.faults.run import run

SHORT = (
    "worker killed after commit",
    "edge killed",
    "Redis flushed",
)


@pytest.mark.parametrize("name", SHORT)
def test_the_promise_is_kept(name: str) -> None:
    report = run(FAULTS[name], messages=500)
    assert report.messages >= 500
    assert report.passed, report
