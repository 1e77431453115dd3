"""Fixtures that every test may use, and how tests are spread over workers."""

import gc
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.alone import Alone
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge, with_profile
from tests.harness.engines import Engines, Store
from tests.harness.memory import memory
from tests.harness.plain_text import PlainText
from tests.harness.progress import Progress
from tests.harness.raw import RawClient, RawPolling
from tests.harness.schedule import ByStack, order

DeploymentFactory = Callable[..., Deployment]
ClientFactory = Callable[..., Client]
EdgeFactory = Callable[..., Edge]
Name = Callable[[str], str]


def pytest_configure(config: pytest.Config) -> None:
    """Prepare a run on several workers: its folder, what it prints, and which tests run alone."""
    if hasattr(config, "workerinput"):
        # Beside the folder of this worker.
        config.pluginmanager.register(Alone(Path(config.option.basetemp).parent))
        config.pluginmanager.register(PlainText())
        return
    if not config.option.basetemp:
        # Any pytest that starts closes the default folder to other users, and Postgres runs as one.
        folder = tempfile.TemporaryDirectory(prefix="bbgram-tests-", dir=memory(), ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        config.option.basetemp = f"{folder.name}/pytest"
        os.environ["TMPDIR"] = tempfile.tempdir = folder.name
    if config.getoption("dist", "no") != "no" and config.get_verbosity() == 0:
        config.pluginmanager.register(Progress(config))


def pytest_collection() -> None:
    """Do not look for garbage among the tests while they are collected: there is none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From now on, look for garbage among newer objects only."""
    gc.enable()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByStack:
    """Keep tests that share processes on one worker."""
    return ByStack(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long tests first, and those that run alone last."""
    order(items)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """A Postgres and a Valkey for all tests of a worker."""
    engines = Engines(tmp_path_factory.mktemp("engines"), durable=False)
    engines.start()
    yield engines
    engines.stop()


@pytest.fixture(scope="session")
def chat(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One edge, two workers and beat, shared by all tests that leave them unharmed."""
    deployment = Deployment(engines.new_store(), tmp_path_factory.mktemp("chat"), forked=True)
    yield deployment.start(edges=1, workers=2)
    deployment.stop()


@pytest.fixture(scope="module")
def bench_store(engines: Engines) -> Iterator[Store]:
    """One store for the tests of a module, each of which has people and an edge of its own."""
    store = engines.new_store()
    yield store
    engines.release(store)


@pytest.fixture
def start_edge(chat: Deployment) -> Iterator[EdgeFactory]:
    """Return a factory for edges beside the shared one, with settings of their own; stopped at the end."""
    edges: list[Edge] = []

    def start(**settings: Any) -> Edge:
        edges.append(chat.start_edge(**settings))
        return edges[-1]

    yield start
    for edge in edges:
        edge.stop()
        chat.edges.remove(edge)


@pytest.fixture
def deploy(engines: Engines, tmp_path: Path) -> Iterator[DeploymentFactory]:
    """Return a factory for deployments that a test has to itself, with settings of its own."""
    deployments: list[Deployment] = []

    def make(**settings: object) -> Deployment:
        folder = tmp_path / f"deployment-{len(deployments)}"
        folder.mkdir()
        deployments.append(Deployment(engines.new_store(), folder, forked=True, **settings))
        return deployments[-1]

    yield make
    for deployment in deployments:
        deployment.stop()
        engines.release(deployment.store)


@pytest.fixture
async def client() -> AsyncIterator[ClientFactory]:
    """Return a factory for clients, which are disconnected at the end."""
    clients: list[Client] = []

    def make(username: str, **options: bool) -> Client:
        clients.append(Client(username, **options))
        return clients[-1]

    yield make
    for one in clients:
        await one.close()


@pytest.fixture
def attacked(chat: Deployment) -> Deployment:
    """The deployment that mallory connects to."""
    return chat


@pytest.fixture
def mallory(attacked: Deployment, name: Name) -> str:
    """Return the name of a user who has a profile and nothing else."""
    return with_profile(attacked, name("mallory"))


@pytest.fixture
async def raw(attacked: Deployment, mallory: str) -> AsyncIterator[RawClient]:
    """Connect mallory."""
    async with RawClient(attacked.edges[0], mallory) as client:
        yield client


@pytest.fixture
async def polling(attacked: Deployment, mallory: str) -> AsyncIterator[RawPolling]:
    """Connect mallory over long polling."""
    async with RawPolling(attacked.edges[0], mallory) as client:
        yield client


@pytest.fixture
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("BBGRAM_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def name() -> Name:
    """Return a function that makes a user name unique to this test."""
    suffix = uuid.uuid4().hex[:8]
    return lambda base: f"{base}_{suffix}"
