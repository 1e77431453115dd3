"""Both kinds of server, and users who connect to them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.conformance.connections import TRANSPORTS, Connection, Polling, Websocket
from tests.conformance.servers import Server, stock_server
from tests.conftest import Name
from tests.harness.deployment import Deployment
from tests.harness.engines import Engines

SERVERS = ["edge", "stock"]
HEARTBEAT_TIMEOUT_S = 6
"""How long hasty servers wait for the answer to a ping: a client on a busy machine answers in time."""
Arrive = Callable[[str], Awaitable[Connection]]


@pytest.fixture
def edge(chat: Deployment) -> Server:
    """Our edge, for what stock python-socketio does not do."""
    return Server("edge", chat.edges[0].url)


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Stock python-socketio."""
    with stock_server(tmp_path_factory.mktemp("stock")) as stock:
        yield stock


@pytest.fixture(scope="session")
def hasty_edge(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An edge without workers: pings every second, waits six for the answer, eight for a sign-in."""
    store = engines.new_store()
    deployment = Deployment(
        store,
        tmp_path_factory.mktemp("hasty"),
        forked=True,
        heartbeat_s=1,
        heartbeat_timeout_s=HEARTBEAT_TIMEOUT_S,
        connect_s=8,
    )
    try:
        yield Server("edge", deployment.start_edge().url)
    finally:
        deployment.stop()
        engines.release(store)


@pytest.fixture(scope="session")
def hasty_stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Stock python-socketio with the same interval and timeout."""
    with stock_server(
        tmp_path_factory.mktemp("hasty"), heartbeat_s=1, heartbeat_timeout_s=HEARTBEAT_TIMEOUT_S
    ) as stock:
        yield stock


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """Our edge and stock python-socketio, which must behave alike."""
    if request.param == "edge":
        chat: Deployment = request.getfixturevalue("chat")
        return Server("edge", chat.edges[0].url)
    stock: Server = request.getfixturevalue("stock")
    return stock


@pytest.fixture(params=SERVERS)
def hasty_server(request: pytest.FixtureRequest) -> Server:
    """Both kinds of server, with a ping interval of one second."""
    hasty: Server = request.getfixturevalue(f"hasty_{request.param}")
    return hasty


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> type[Polling] | type[Websocket]:
    """Both transports."""
    return TRANSPORTS[request.param]


@pytest.fixture
async def bob(server: Server, name: Name) -> AsyncIterator[Websocket]:
    """A user whom others can write to, on a websocket."""
    async with Websocket(server) as bob:
        await bob.sign_in(name("bob"))
        await bob.assert_alive()
        yield bob


@pytest.fixture
async def arrive(server: Server, transport: type[Polling] | type[Websocket]) -> AsyncIterator[Arrive]:
    """Return a function that connects a user over the transport of the test; others can write to them."""
    async with AsyncExitStack() as open_connections:

        async def arrive(username: str) -> Connection:
            connection: Connection = await open_connections.enter_async_context(transport(server))
            await connection.sign_in(username)
            await connection.assert_alive()
            return connection

        yield arrive
