"""Fixtures that every test may use."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.alone import Alone
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge
from tests.harness.engines import Engines
from tests.harness.plain_text import PlainText
from tests.harness.progress import Progress
from tests.harness.schedule import ByFile, order

DeploymentFactory = Callable[..., Deployment]
ClientFactory = Callable[..., Client]
EdgeFactory = Callable[..., Edge]
Name = Callable[[str], str]


_ROOM: Final = pytest.StashKey[str]()
"""The folder that all workers of a run share."""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Show the progress of several workers; in each of them, let tests wait for those that run alone."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Alone(Path(config.workerinput["room"])))
        config.pluginmanager.register(PlainText())
    elif config.getoption("dist", "no") != "no":
        room = tempfile.TemporaryDirectory(prefix="bbgram-tests-")
        config.add_cleanup(room.cleanup)
        config.stash[_ROOM] = room.name
        if config.get_verbosity() == 0:
            config.pluginmanager.register(Progress(config.pluginmanager.getplugin("terminalreporter")))


def pytest_configure_node(node: Any) -> None:
    """Tell each worker the folder that all of them share."""
    node.workerinput["room"] = node.config.stash[_ROOM]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Give whole files to the workers."""
    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow tests first and lone ones last."""
    order(items)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """A Postgres and a Valkey for the whole run."""
    engines = Engines(tmp_path_factory.mktemp("engines"))
    engines.start()
    yield engines
    engines.stop()


@pytest.fixture(scope="session")
def chat(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One edge, two workers and beat, shared by all tests that do no harm to them."""
    deployment = Deployment(engines.new_store(), tmp_path_factory.mktemp("chat"))
    yield deployment.start(edges=1, workers=2)
    deployment.stop()


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
        deployments.append(Deployment(engines.new_store(), folder, **settings))
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
def name() -> Name:
    """Return a function that makes a user name unique to this test."""
    suffix = uuid.uuid4().hex[:8]
    return lambda base: f"{base}_{suffix}"
