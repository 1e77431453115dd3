"""An edge to attack, and users on it."""

import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import settings

from tests.conftest import Name
from tests.harness.deployment import Deployment, Edge
from tests.harness.engines import Engines, Store
from tests.harness.waiting import PATIENCE_S
from tests.harness.worker_bench import WorkerBench
from tests.security.siege import Siege

CONNECT_S = 2
"""How long a connection may stay without signing in; short, so that tests can wait for it."""
SEND_BYTES = 2_000_000
FILES = 8_192

# Every run uses the same examples; `make fuzz` looks for new ones.
settings.register_profile("security", deadline=None, database=None, derandomize=True, max_examples=100)
settings.load_profile("security")

Besiege = Callable[..., Siege]


@pytest.fixture(scope="session")
def target(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One edge and one worker, with short deadlines and one allowed origin; tests measure their memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(FILES, hard)), hard))
    deployment = Deployment(
        engines.new_store(),
        tmp_path_factory.mktemp("target"),
        connect_s=CONNECT_S,
        origins="https://app.example",
        send_bytes=SEND_BYTES,
    )
    yield deployment.without_coverage().start(edges=1, workers=1, beat=False)
    deployment.stop()


@pytest.fixture(scope="session")
def patient(target: Deployment) -> Iterator[Edge]:
    """Another edge of the target, on which no deadline closes a connection before a test gives up."""
    edge = target.start_edge(connect_s=2 * PATIENCE_S)
    yield edge
    edge.stop()
    target.edges.remove(edge)


@pytest.fixture(scope="module")
def edges(request: pytest.FixtureRequest, chat: Deployment) -> Iterator[Mapping[str, Edge]]:
    """Start the edges that the module lists in `EDGES`, by name with their settings."""
    started = {
        name: chat.start_edge(wait=False, **settings) for name, settings in request.module.EDGES.items()
    }
    for edge in started.values():
        edge.wait_ready()
    yield started
    for edge in started.values():
        edge.process.send_signal(signal.SIGTERM)
    for edge in started.values():
        edge.stop()
        chat.edges.remove(edge)


@pytest.fixture
def besiege(target: Deployment, name: Name, record_property: Callable[[str, object], None]) -> Besiege:
    """Return a function that starts a siege of the target."""

    def besiege(**what: Any) -> Siege:
        return Siege(target, (name("alice"), name("bob")), record_property, **what)

    return besiege


@pytest.fixture
def attacked(target: Deployment) -> Deployment:
    return target


@pytest.fixture(scope="module")
def shared_bench(bench_store: Store) -> Iterator[WorkerBench]:
    """A worker in this process, which all examples of a test share."""
    bench = WorkerBench(bench_store)
    yield bench
    bench.close()
