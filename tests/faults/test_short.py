"""A short form of `make faults`: some of the faults, with fewer messages."""

import pytest

from tests.faults.faults import FAULTS
from tests.faults.run import run

MESSAGES = 200
MARGIN_S = 20.0
"""Other tests share the machine, and any process may stand still for seconds."""
SHORT = (
    "worker killed after commit",
    "Redis flushed",
    "Redis loses its last second",
    "Redis primary killed under Sentinel",
    "all connections to Postgres cut",
)


@pytest.mark.parametrize("name", SHORT)
def test_the_promise_is_kept(name: str) -> None:
    report = run(FAULTS[name], MESSAGES, MARGIN_S, forked=True)
    assert report.messages >= MESSAGES
    assert report.counts.broken == {}
    assert report.passed, (report.recovery_s, report.wrong)
