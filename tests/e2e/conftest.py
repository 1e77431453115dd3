"""Two edges with short intervals, and users who are connected and known to the workers."""

from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.conftest import ClientFactory
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge
from tests.harness.engines import Engines

Arrive = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="session")
def two_edges(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two edges, two workers and beat, with short intervals for pings and for pages that are not acked."""
    deployment = Deployment(
        engines.new_store(),
        tmp_path_factory.mktemp("two_edges"),
        forked=True,
        ping_s=1,
        page_ack_s=0.5,
        token_grace_s=10,
        # The sweep must not make up for a message that was not delivered at once.
        sweep_after_s=600,
        # Inbox entries are deleted at a refresh; here they stay where tests can look at them.
        lease_s=600,
        lease_refresh_s=300,
    )
    yield deployment.start(edges=2, workers=2)
    deployment.stop()


@pytest.fixture
def edge(two_edges: Deployment) -> Edge:
    return two_edges.edges[0]


@pytest.fixture
def arrive(client: ClientFactory) -> Arrive:
    """Return a function that connects a user, to whom others can write from then on."""

    async def arrive(
        username: str, edge: Edge, *, transports: list[str] | None = None, **options: bool
    ) -> Client:
        return await client(username, **options).connect(edge, transports=transports)

    return arrive
