"""Two people who have chatted, and what erases one of them."""

from collections.abc import Callable

import pytest

from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.conftest import Eraser


@pytest.fixture
def two(unswept_bench: WorkerBench) -> Two:
    """Two friends who are connected."""
    return Two.friends(unswept_bench)


@pytest.fixture
def eraser(two: Two, make_eraser: Callable[[WorkerBench], Eraser]) -> Eraser:
    """Return what erases one of the two."""
    return make_eraser(two.bench)
