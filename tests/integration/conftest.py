"""Fixtures of the tests that drive the workers' code in process."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.harness.engines import Engines, Store
from tests.harness.relay import RelayBench

BenchFactory = Callable[..., RelayBench]


@pytest.fixture(scope="module")
def bench_store(engines: Engines) -> Iterator[Store]:
    """One store for the tests of a module, each of which has people and an edge of its own."""
    store = engines.new_store()
    yield store
    engines.release(store)


@pytest.fixture
def make_bench(bench_store: Store) -> Iterator[BenchFactory]:
    """Return a factory for relays in this process."""
    benches: list[RelayBench] = []

    def make(**options: Any) -> RelayBench:
        benches.append(RelayBench(bench_store, **options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench: BenchFactory) -> RelayBench:
    """Make one relay in this process."""
    return make_bench()
