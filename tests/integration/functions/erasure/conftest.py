"""Two people who have chatted, and what erases one of them."""

from collections.abc import Callable
from typing import Any

import pytest

from functions.erasure.job import erase
from functions.erasure.manifest import Manifest
from functions.erasure.record import Mode
from functions.pacer import Pacer
from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.conftest import ContextFactory
from workers.announcer import Announcer

Eraser = Callable[..., Manifest]


@pytest.fixture
def two(unswept_bench: WorkerBench) -> Two:
    """Two friends who are connected."""
    return Two.friends(unswept_bench)


@pytest.fixture
def make_eraser(make_context: ContextFactory) -> Callable[[WorkerBench], Eraser]:
    """Return a factory for what erases users of a bench without waiting for others."""

    def make(bench: WorkerBench) -> Eraser:
        def run(user_id: Any, mode: Mode = Mode.DELETE, **options: Any) -> Manifest:
            announcer = options.pop("announcer", None) or Announcer(bench.worker_engine, bench.publisher)
            waits = {"settle_s": options.pop("settle_s", 0.0), "unread_s": options.pop("unread_s", 0.0)}
            pacer = options.pop("pacer", None) or Pacer(600)
            return erase(make_context(**options), pacer, announcer, user_id, mode, **waits)

        return run

    return make


@pytest.fixture
def eraser(two: Two, make_eraser: Callable[[WorkerBench], Eraser]) -> Eraser:
    """Return what erases one of the two."""
    return make_eraser(two.bench)
