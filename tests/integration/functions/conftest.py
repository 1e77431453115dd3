"""Fixtures of the tests that run functions in process, on real engines."""

import os
from collections.abc import Callable

import pytest

from tests.harness.engines import Store
from tests.harness.relay import RelayBench
from tests.integration.functions.notices import Notices


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("BBGRAM_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def notices(make_bench: Callable[..., RelayBench], bench_store: Store) -> Notices:
    """Alice and bob on an empty database; nobody is online."""
    bench = make_bench(sweep_after_s=0.0)
    bench.rows("TRUNCATE profiles, dead_letters CASCADE")
    bench.redis.flushdb()
    bench.open_edge(bench.edge_id)
    return Notices(bench, bench_store.database_url, bench_store.redis_url)
