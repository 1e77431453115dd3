"""Fixtures of the tests that run functions in this process, on real engines."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from functions.context import Context
from functions.erasure.job import erase
from functions.pacer import Pacer
from infra.settings.functions import FunctionSettings
from infra.store.erasures import Mode
from infra.wire.events import Manifest
from tests.harness.engines import Engines, Store
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.notices import ListChannel, Notices
from tests.integration.functions.queues import NoQueue
from workers.announcer import Announcer

_DELETE_EVERYTHING = """
DO $$
DECLARE place regclass;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR place IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'bbgram'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
    LOOP EXECUTE 'DELETE FROM ' || place; END LOOP;
END $$
"""
"""Takes a hundredth of the time that TRUNCATE does, which makes new files for all tables and indexes."""

BenchFactory = Callable[..., WorkerBench]
ContextFactory = Callable[..., Context]
Eraser = Callable[..., Manifest]


@pytest.fixture(autouse=True)
def _settings(no_settings_from_outside: None) -> None:
    """Give these tests no settings but their own."""


@pytest.fixture(scope="session")
def bench_store(engines: Engines) -> Iterator[Store]:
    """A store for these tests only: functions would also process what other tests have left."""
    store = engines.new_store()
    yield store
    engines.release(store)


@pytest.fixture
def make_bench(make_bench: BenchFactory) -> BenchFactory:
    """Return a factory for workers on a store that is empty but for the edge of the worker."""

    def make(**options: Any) -> WorkerBench:
        bench = make_bench(**options)
        bench.rows(_DELETE_EVERYTHING)
        bench.redis.flushdb()
        bench.open_edge(bench.edge_id)
        return bench

    return make


@pytest.fixture
def make_context(engine: Engine, bench_store: Store) -> ContextFactory:
    """Return a factory for the contexts of functions that need no Redis and must not notify anybody."""

    def make(**options: Any) -> Context:
        given = {"database_url": bench_store.database_url, "redis_url": bench_store.redis_url, **options}
        return Context(FunctionSettings(**given), engine, NoQueue())

    return make


@pytest.fixture
def notices(make_bench: BenchFactory, bench_store: Store) -> Notices:
    """Alice and bob on an empty store; nobody is online."""
    bench = make_bench(sweep_after_s=0.0)
    return Notices(bench, bench_store.database_url, bench_store.redis_url)


@pytest.fixture
def fcm() -> ListChannel:
    return ListChannel()


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
