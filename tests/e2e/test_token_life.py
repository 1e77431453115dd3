"""A socket does not outlive its token, and browsers connect only from allowed origins."""

from collections.abc import Callable, Iterator
from datetime import datetime

import jwt
import pytest
from socketio.exceptions import ConnectionError as Refused

from tests.conftest import ClientFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import ANSWERED_S, Deployment, Edge, make_token
from tests.harness.moved_clock import MovedClock

LIFE_S = 600
"""Life of the tokens that end. Nobody waits for that: the clock of the edge is moved."""
GRACE_S = 200
"""How long before the end a client is told, at most a third of the life."""
LATER = {"shortly before it is told": LIFE_S - GRACE_S - 60, "told": LIFE_S - GRACE_S, "ended": LIFE_S}
"""How far the clock is moved for what."""


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> MovedClock:
    return MovedClock(tmp_path_factory.mktemp("clock") / "seconds")


@pytest.fixture(scope="module")
def edge_of_its_own_time(two_edges: Deployment, moved: MovedClock) -> Iterator[Edge]:
    edge = two_edges.start_edge(program=moved.program, token_grace_s=GRACE_S)
    yield edge
    edge.stop()


@pytest.fixture
def clock(moved: MovedClock) -> MovedClock:
    """The clock of `timed_edge`, which is right."""
    moved.move(0)
    return moved


@pytest.fixture
def timed_edge(edge_of_its_own_time: Edge, clock: MovedClock) -> Edge:
    """An edge whose clock a test may move."""
    return edge_of_its_own_time


@pytest.fixture(scope="module")
def choosy_edge(two_edges: Deployment) -> Iterator[Edge]:
    """An edge that lets browsers connect from two origins only."""
    edge = two_edges.start_edge(origins="https://app.example, https://admin.example:8443")
    yield edge
    edge.stop()


def end_of(token: str) -> float:
    """Return when a token expires."""
    return float(jwt.decode(token, options={"verify_signature": False})["exp"])


def seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


async def checked(client: Client) -> None:
    """Wait until the edge has looked at all tokens once more, which it does before each ping."""
    await client.expect("ping", count=len(client.of("ping")) + 2)


async def test_the_client_is_told_shortly_before_its_token_ends(
    timed_edge: Edge, clock: MovedClock, client: ClientFactory, name: Name
) -> None:
    alice = client(name("alice"))
    token = make_token(alice.username, ttl_s=LIFE_S)
    await alice.connect(timed_edge, token=token)
    assert seconds(alice.of("connection_success")[0]["expiresAt"]) == end_of(token)
    clock.move(LATER["shortly before it is told"])
    await checked(alice)
    assert alice.of("error") == []
    clock.move(LATER["told"])
    error = await alice.expect("error")
    assert (error["code"], error["retryable"]) == ("token_expired", True)
    await checked(alice)
    assert alice.of("disconnect") == []


async def test_without_a_new_token_the_socket_is_disconnected_when_it_ends(
    timed_edge: Edge, clock: MovedClock, client: ClientFactory, name: Name
) -> None:
    alice = client(name("alice"))
    await alice.connect(timed_edge, token=make_token(alice.username, ttl_s=LIFE_S))
    clock.move(LATER["told"])
    await alice.expect("error")
    clock.move(LATER["ended"])
    await alice.expect("disconnect")
    assert [error["code"] for error in alice.of("error")] == ["token_expired"]


async def test_refresh_token_keeps_the_socket(
    timed_edge: Edge, clock: MovedClock, client: ClientFactory, name: Name
) -> None:
    alice = client(name("alice"))
    await alice.connect(timed_edge, token=make_token(alice.username, ttl_s=LIFE_S))
    clock.move(LATER["told"])
    await alice.expect("error")
    token = make_token(alice.username)
    ack = await alice.call("refresh_token", {"token": token})
    assert ack["success"]
    assert seconds(ack["expiresAt"]) == end_of(token)
    clock.move(LATER["ended"])
    await checked(alice)
    assert (await alice.send(alice.username, "Still here"))["success"]
    assert len(alice.of("error")) == 1


async def test_a_refreshed_token_ends_too(
    timed_edge: Edge, clock: MovedClock, client: ClientFactory, name: Name
) -> None:
    alice = client(name("alice"))
    await alice.connect(timed_edge)
    await alice.call("refresh_token", {"token": make_token(alice.username, ttl_s=LIFE_S)})
    clock.move(LATER["told"])
    await alice.expect("error", lambda error: error["code"] == "token_expired")
    clock.move(LATER["ended"])
    await alice.expect("disconnect")


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (lambda name: make_token(name("mallory")), "unauthorized"),
        (lambda name: make_token(name("alice"), aud="elsewhere"), "unauthorized"),
        (lambda name: make_token(name("alice"), ttl_s=-60), "token_expired"),
        (lambda _: "garbage", "unauthorized"),
        (lambda _: "", "unauthorized"),
        (lambda _: 1, "invalid_payload"),
    ],
    ids=["another user's", "of another audience", "expired", "garbage", "empty", "a number"],
)
async def test_a_bad_new_token_is_refused_and_the_old_one_stays(
    edge: Edge, client: ClientFactory, name: Name, token: Callable[[Name], object], code: str
) -> None:
    alice = await client(name("alice")).connect(edge)
    ack = await alice.call("refresh_token", {"token": token(name)})
    error = await alice.expect("error")
    assert (ack["success"], ack["code"]) == (False, code)
    assert (error["event"], error["message"]) == ("refresh_token", ack["error"])
    message = (await alice.send(alice.username, "Still me"))["message"]
    assert message["senderId"] == alice.user_id


async def test_a_refused_new_token_does_not_keep_the_socket(
    timed_edge: Edge, clock: MovedClock, client: ClientFactory, name: Name
) -> None:
    alice = client(name("alice"))
    await alice.connect(timed_edge, token=make_token(alice.username, ttl_s=LIFE_S))
    assert not (await alice.call("refresh_token", {"token": make_token(name("mallory"))}))["success"]
    await checked(alice)
    assert alice.of("disconnect") == []
    clock.move(LATER["ended"])
    await alice.expect("disconnect")


async def test_a_forbidden_origin_is_a_rejected_connection(
    choosy_edge: Edge, client: ClientFactory, name: Name
) -> None:
    for origin in ("https://evil.example", "https://app.example.evil.example", "http://app.example", "null"):
        alice = client(name("alice"))
        with pytest.raises(Refused):
            await connect_from(origin, alice, choosy_edge)
        refusal = await alice.expect("connect_error")
        assert refusal["data"]["code"] == "forbidden_origin", origin
        assert alice.of("connection_success") == []


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_configured_origin_may_connect(
    choosy_edge: Edge, client: ClientFactory, name: Name, transport: str
) -> None:
    for origin in ("https://app.example", "https://admin.example:8443", choosy_edge.url):
        alice = client(name("alice"))
        await connect_from(origin, alice, choosy_edge, transport)
        await alice.expect("connection_success")


async def connect_from(origin: str, client: Client, edge: Edge, transport: str = "websocket") -> None:
    await client.sio.connect(
        edge.url,
        auth={"token": make_token(client.username)},
        headers={"Origin": origin},
        transports=[transport],
        wait_timeout=ANSWERED_S,
    )
