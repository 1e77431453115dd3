"""Fixtures of the tests that drive our code in this process."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.harness.engines import Store
from tests.harness.worker_bench import WorkerBench

BenchFactory = Callable[..., WorkerBench]

NEVER_S = 100_000.0
"""A delay after which no sweep of any test looks at a chat."""


@pytest.fixture
def make_bench(bench_store: Store) -> Iterator[BenchFactory]:
    """Return a factory for workers in this process."""
    benches: list[WorkerBench] = []

    def make(**options: Any) -> WorkerBench:
        benches.append(WorkerBench(bench_store, **options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench: BenchFactory) -> WorkerBench:
    """Make one worker in this process."""
    return make_bench()


@pytest.fixture
def unswept_bench(make_bench: BenchFactory) -> WorkerBench:
    """Make one whose chats stay out of all sweeps."""
    return make_bench(sweep_after_s=NEVER_S)


@pytest.fixture
def engine(bench_store: Store) -> Engine:
    """Return the engine of functions."""
    return bench_store.engine()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be in an empty AWS account (moto), with no settings but those that the test makes."""
    from moto import mock_aws  # takes a second, which most tests need not spend

    # Each of botocore's sessions would look for the same services again, and parse megabytes of JSON.
    loader = _loader()
    monkeypatch.setattr("botocore.session.create_loader", lambda _: loader)
    for name in [name for name in os.environ if name.startswith(("AWS_", "BBGRAM_", "POWERTOOLS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield


@cache
def _loader() -> Any:
    """Return what reads the descriptions of AWS services, each once."""
    from botocore.loaders import create_loader

    return create_loader()


@pytest.fixture
def s3(account: None) -> Any:
    """A client of S3, which has no buckets."""
    from functions.archive.bucket import make_client  # boto3 takes a second as well

    return make_client()
