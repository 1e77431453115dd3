"""Local stacks as people start them."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local.ports import free_port
from tests.harness.stack import LocalStack, is_gone

SOON_S = 30
StartStack = Callable[..., LocalStack]


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    started: list[LocalStack] = []

    def start(**env: str) -> LocalStack:
        port = started[0].port if started else free_port()
        started.append(LocalStack(tmp_path / "data", port, **env))
        return started[-1].wait_started()

    yield start
    for stack in started:
        stack.stop()


def check_that_it_stops(stack: LocalStack, number: signal.Signals, parts: int = 7) -> None:
    """Signal a stack: it must stop soon, however busy the machine is, and leave no process."""
    family = stack.family()
    assert len(family) >= parts
    began = time.monotonic()
    assert stack.stop(number) == 0
    assert time.monotonic() - began < SOON_S
    assert [one for one in family if not is_gone(one)] == []
