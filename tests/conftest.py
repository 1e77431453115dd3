"""Fixtures that every test may use."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge
from tests.harness.engines import Engines

DeploymentFactory = Callable[..., Deployment]
ClientFactory = Callable[..., Client]
EdgeFactory = Callable[..., Edge]


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
def name() -> Callable[[str], str]:
    """Return a function that makes user names nobody else in the run has."""
    suffix = uuid.uuid4().hex[:8]
    return lambda base: f"{base}_{suffix}"
