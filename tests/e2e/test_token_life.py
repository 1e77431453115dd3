"""A socket does not outlive its token, and browsers connect only from allowed origins."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from socketio.exceptions import ConnectionError as Refused

from tests.conftest import ClientFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge, make_token

GRACE_S = 2
"""The setting of `two_edges`."""


@pytest.fixture(scope="module")
def choosy_edge(two_edges: Deployment) -> Iterator[Edge]:
    """An edge that lets browsers connect from two origins only."""
    edge = two_edges.start_edge(origins="https://app.example, https://admin.example:8443")
    yield edge
    edge.stop()


async def connect(client: Client, edge: Edge, *, ttl_s: float) -> float:
    """Connect with a token that expires after `ttl_s`; return when it does."""
    await client.connect(edge, token=make_token(client.username, ttl_s=ttl_s))
    return seconds(client.of("connection_success")[0]["expiresAt"])


def seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


async def test_the_client_is_told_shortly_before_its_token_ends(
    edge: Edge, client: ClientFactory, name: Name
) -> None:
    alice = client(name("alice"))
    ends_at = await connect(alice, edge, ttl_s=GRACE_S + 2)
    error = await alice.expect("error")
    assert (error["code"], error["retryable"]) == ("token_expired", True)
    assert 0 < ends_at - time.time() <= GRACE_S
    assert alice.sio.connected


async def test_without_a_new_token_the_socket_is_disconnected_when_it_ends(
    edge: Edge, client: ClientFactory, name: Name
) -> None:
    alice = client(name("alice"))
    ends_at = await connect(alice, edge, ttl_s=2)
    await alice.expect("disconnect")
    assert 0 <= time.time() - ends_at < 3
    assert [error["code"] for error in alice.of("error")] == ["token_expired"]


async def test_refresh_token_keeps_the_socket(edge: Edge, client: ClientFactory, name: Name) -> None:
    alice = client(name("alice"))
    ends_at = await connect(alice, edge, ttl_s=2)
    await alice.expect("error")
    ack = await alice.call("refresh_token", {"token": make_token(alice.username, ttl_s=600)})
    assert ack["success"]
    assert 590 < seconds(ack["expiresAt"]) - time.time() <= 600
    await alice.expect("ping", lambda ping: seconds(ping["timestamp"]) > ends_at + 1.5)
    assert (await alice.send(alice.username, "Still here"))["success"]
    assert len(alice.of("error")) == 1


async def test_a_refreshed_token_ends_too(edge: Edge, client: ClientFactory, name: Name) -> None:
    alice = client(name("alice"))
    await connect(alice, edge, ttl_s=600)
    await alice.call("refresh_token", {"token": make_token(alice.username, ttl_s=2)})
    await alice.expect("error", lambda error: error["code"] == "token_expired")
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
    alice = client(name("alice"))
    await connect(alice, edge, ttl_s=600)
    ack = await alice.call("refresh_token", {"token": token(name)})
    error = await alice.expect("error")
    assert (ack["success"], ack["code"]) == (False, code)
    assert (error["event"], error["message"]) == ("refresh_token", ack["error"])
    message = (await alice.send(alice.username, "Still me"))["message"]
    assert message["senderId"] == alice.user_id


async def test_a_refused_new_token_does_not_keep_the_socket(
    edge: Edge, client: ClientFactory, name: Name
) -> None:
    alice = client(name("alice"))
    await connect(alice, edge, ttl_s=2)
    await alice.call("refresh_token", {"token": make_token(name("mallory"))})
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
    )
