"""The examples in docs/deployment.md of proxies in front of two edges, over TLS."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import Name
from tests.harness.deployment import Deployment, make_token
from tests.harness.engines import Engines
from tests.harness.reverse_proxy import PROXIES, ReverseProxy
from tests.harness.waiting import PATIENCE_S

APP = "https://app.example"
HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
PER_ADDRESS = 30
NETWORKS = [f"127.0.{number}.1" for number in range(1, 17)]
"""Addresses in different networks: nginx looks at the first three bytes only."""

RawFrom = Callable[[str], httpx.AsyncClient]


@pytest.fixture(scope="module")
def edges(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two edges that hold thirty connections of each address."""
    deployment = Deployment(
        engines.new_store(),
        tmp_path_factory.mktemp("edges"),
        forked=True,
        origins=APP,
        sockets_per_address=PER_ADDRESS,
    )
    yield deployment.start(edges=2, beat=False)
    deployment.stop()


@pytest.fixture(scope="module", params=PROXIES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def proxy(edges: Deployment, kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReverseProxy]:
    folder: Path = tmp_path_factory.mktemp("proxy") / kind
    with PROXIES[kind]([edge.port for edge in edges.edges], folder) as proxy:
        yield proxy


@pytest.fixture
async def raw_from(proxy: ReverseProxy) -> AsyncIterator[RawFrom]:
    """Return a function that makes HTTP clients at an address. They keep cookies."""
    async with AsyncExitStack() as stack:

        def make(address: str) -> httpx.AsyncClient:
            transport = httpx.AsyncHTTPTransport(verify=proxy.tls, local_address=address)
            client = httpx.AsyncClient(base_url=proxy.url, transport=transport, timeout=30)
            stack.push_async_exit(client)
            return client

        yield make


async def open_polling(http: httpx.AsyncClient, username: str, answer: str = "connection_success") -> str:
    """Open a polling connection, sign in and wait for the answer; return the path of its requests."""
    opened = await http.get(HANDSHAKE)
    assert opened.status_code == 200, opened
    path = f"{HANDSHAKE}&sid={json.loads(opened.text[1:])['sid']}"
    await http.post(path, content=f"40{json.dumps({'token': make_token(username)})}")
    await poll_until(http, path, answer)
    return path


def open_websocket(proxy: ReverseProxy, path: str, origin: str | None = None) -> connect:
    """Open a websocket through the proxy."""
    address = f"{proxy.url.replace('https', 'wss', 1)}{path}"
    headers = {} if origin is None else {"Origin": origin}
    return connect(address, ssl=proxy.tls, additional_headers=headers, compression=None, proxy=None)


async def sign_in(websocket: ClientConnection, username: str, answer: str = "connection_success") -> None:
    """Sign in and wait for the answer."""
    await websocket.send(f"40{json.dumps({'token': make_token(username)})}")
    await receive_until(websocket, answer)


async def receive_until(websocket: ClientConnection, wanted: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while wanted not in str(await websocket.recv()):
            pass


async def poll_until(http: httpx.AsyncClient, path: str, wanted: str) -> str:
    """Poll until something is received; return everything that was."""
    received = ""
    async with asyncio.timeout(PATIENCE_S):
        while wanted not in received:
            answer = await http.get(path)
            assert answer.status_code == 200, answer.text
            received += answer.text
    return received


async def poll_for_a_while(http: httpx.AsyncClient, username: str) -> None:
    """Open a polling connection, and send several events on it, each answered."""
    path = await open_polling(http, username)
    for ack_id in range(3):
        assert (await http.post(path, content=f'42{ack_id}["list_chats",{{}}]')).status_code == 200
        await poll_until(http, path, f"43{ack_id}[")


async def chat_everywhere(raw_from: RawFrom, name: Name) -> None:
    """Connect people in all networks, who keep no cookies, and let them poll at the same time."""
    async with asyncio.TaskGroup() as tasks:
        for address in NETWORKS:
            http = raw_from(address)
            http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            tasks.create_task(poll_for_a_while(http, name(address)))


def sign_ins(edges: Deployment) -> list[int]:
    """Return how many clients have signed in on each edge so far."""
    return [edge.log.count("client_connected") for edge in edges.edges]


async def test_polling_clients_stay_on_one_edge_without_cookies(
    edges: Deployment, raw_from: RawFrom, name: Name
) -> None:
    before = sign_ins(edges)
    await chat_everywhere(raw_from, name)
    joined = [now - count for now, count in zip(sign_ins(edges), before, strict=True)]
    assert sum(joined) == len(NETWORKS)
    assert all(joined)


async def test_websockets_pass(proxy: ReverseProxy, name: Name) -> None:
    async with open_websocket(proxy, WEBSOCKET) as alice:
        await sign_in(alice, name("alice"))
        await alice.send('421["list_chats",{}]')
        await receive_until(alice, "431[")


async def test_polling_connections_upgrade(proxy: ReverseProxy, raw_from: RawFrom, name: Name) -> None:
    path = await open_polling(raw_from("127.0.0.1"), name("alice"))
    async with open_websocket(proxy, path.replace("polling", "websocket")) as alice:
        await alice.send("2probe")
        await receive_until(alice, "3probe")
        await alice.send("5")
        await alice.send('421["list_chats",{}]')
        await receive_until(alice, "431[")


def origins(proxy: ReverseProxy) -> dict[str, str]:
    """Return how the sign-ins of pages from some origins are answered."""
    return {
        proxy.url: "connection_success",
        APP: "connection_success",
        "https://127.0.0.1": "forbidden_origin",
    }


async def test_a_page_of_the_same_host_and_port_may_connect_and_others_may_not(
    proxy: ReverseProxy, raw_from: RawFrom, name: Name
) -> None:
    for origin, answer in origins(proxy).items():
        async with open_websocket(proxy, WEBSOCKET, origin) as alice:
            await sign_in(alice, name("alice"), answer)
        http = raw_from("127.0.0.1")
        http.headers["Origin"] = origin
        await open_polling(http, name("alice"), answer)


async def test_a_body_may_come_in_chunks(raw_from: RawFrom, name: Name) -> None:
    http = raw_from("127.0.0.1")
    path = await open_polling(http, name("alice"))

    async def chunks() -> AsyncIterator[bytes]:
        for part in ("421", '["list_', 'chats",{}]'):
            yield part.encode()

    answer = await http.post(path, content=chunks())
    assert "content-length" not in answer.request.headers
    assert answer.status_code == 200, answer.text
    await poll_until(http, path, "431[")


async def test_the_largest_bodies_pass(raw_from: RawFrom, name: Name) -> None:
    http = raw_from("127.0.0.1")
    path = await open_polling(http, name("alice"))
    event = f'421["list_chats",{{"padding":"{"x" * 999_000}"}}]'
    assert (await http.post(path, content=event)).status_code == 200
    await poll_until(http, path, "payload_too_large")


async def test_connections_count_for_the_address_of_the_client(raw_from: RawFrom, kind: str) -> None:
    # The connections of the crowd stay open for a while, and all proxies have the same edges.
    network = f"127.0.{20 + list(PROXIES).index(kind)}"
    crowd, other = raw_from(f"{network}.1"), raw_from(f"{network}.2")
    answers = [await crowd.get(HANDSHAKE) for _ in range(PER_ADDRESS)]
    assert [one.status_code for one in answers] == [200] * PER_ADDRESS
    for pretended in ("192.0.2.1", "127.0.0.1", "::1"):
        answers.append(await crowd.get(HANDSHAKE, headers={"X-Forwarded-For": pretended}))
        assert answers[-1].status_code == 429
    assert (await other.get(HANDSHAKE)).status_code == 200


async def test_what_a_browser_needs_for_cookies_passes(raw_from: RawFrom) -> None:
    answer = await raw_from("127.0.0.1").get(HANDSHAKE, headers={"Origin": APP})
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("kind", ["haproxy"], scope="module")  # the example of nginx knows addresses only
async def test_a_cookie_keeps_a_client_on_its_edge_when_its_address_changes(
    raw_from: RawFrom, name: Name
) -> None:
    home = raw_from("127.0.1.1")
    path = await open_polling(home, name("alice"))
    elsewhere = [raw_from(address) for address in NETWORKS]
    without = [(await http.post(path, content="3")).status_code for http in elsewhere]
    assert {*without} == {200, 400}
    for http in elsewhere:
        http.cookies = home.cookies
        assert (await http.post(path, content="3")).status_code == 200


async def test_the_other_edge_takes_over_when_one_stops(
    edges: Deployment, raw_from: RawFrom, name: Name
) -> None:
    stopped = edges.edges.pop()
    stopped.stop()
    try:
        await chat_everywhere(raw_from, name)
    finally:
        edges.start_edge(port=stopped.port)
