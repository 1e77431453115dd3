"""Local stacks as people start them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local.ports import free_port
from tests.harness.stack import LocalStack

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
