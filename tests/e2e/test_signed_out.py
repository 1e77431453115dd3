"""A user whom the backend signs out everywhere is out at once, and older tokens do not let them in again."""

import time
import uuid
from collections.abc import Iterator

import pytest

from tests.conftest import ClientFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge, make_token, user_id_of
from tests.harness.server_api import API_KEYS, READ_KEY, Backend, is_problem


@pytest.fixture(scope="module")
def api_edge(two_edges: Deployment) -> Iterator[Edge]:
    """One more edge of the deployment, which has API keys."""
    edge = two_edges.start_edge(api_keys=API_KEYS)
    yield edge
    edge.stop()
    two_edges.edges.remove(edge)


async def sign_out(edge: Edge, username: str) -> None:
    answer = await Backend(edge).call("POST", f"/v1/users/{user_id_of(username)}/disconnect")
    assert answer.status_code == 200
    assert answer.json()["signedOutAt"]


def old(username: str) -> str:
    """Return a token that was issued a little while ago."""
    return make_token(username, iat=int(time.time()) - 1)


def new(username: str) -> str:
    """Return a token that is issued after what happens next."""
    return make_token(username, iat=int(time.time()) + 60)


async def expect_end(client: Client) -> None:
    error = await client.expect("error")
    assert (error["code"], error["retryable"]) == ("unauthorized", False)
    await client.expect("disconnect")


async def test_all_sockets_on_all_edges_end_and_nobody_elses(
    two_edges: Deployment, api_edge: Edge, client: ClientFactory, name: Name
) -> None:
    username = name("alice")
    sockets = [client(username) for _ in range(4)]
    for socket, edge in zip(sockets, [*two_edges.edges[:2], api_edge, api_edge], strict=True):
        await socket.connect(edge, token=old(username))
    without_time = await client(username).connect(api_edge)
    bob = await client(name("bob")).connect(two_edges.edges[0])
    await sign_out(api_edge, username)
    for socket in (*sockets, without_time):
        await expect_end(socket)
    await bob.settle()
    assert not bob.of("error")


async def test_an_older_token_does_nothing_any_more(
    two_edges: Deployment, api_edge: Edge, client: ClientFactory, name: Name
) -> None:
    username, bob = name("alice"), client(name("bob"))
    await (await client(username).connect(api_edge, token=old(username))).close()
    await bob.connect(api_edge)
    await sign_out(api_edge, username)
    again = client(username)
    await again.sio.connect(api_edge.url, auth={"token": old(username)}, transports=["websocket"])
    if again.sio.connected:
        await again.sio.emit("send_message", {"username": bob.username, "text": "I am still here"})
    await expect_end(again)
    # Whatever was relayed before is handled before this.
    newer = await client(username).connect(api_edge, token=new(username))
    assert (await newer.send(bob.username, "hello"))["success"]
    rows = two_edges.rows("SELECT text FROM messages WHERE sender_id = :id", id=user_id_of(username))
    assert [row.text for row in rows] == ["hello"]
    assert not newer.of("error")


async def test_a_socket_with_a_newer_token_stays_but_not_with_an_older_one(
    edge: Edge, api_edge: Edge, client: ClientFactory, name: Name
) -> None:
    username = name("alice")
    newer = await client(username).connect(edge, token=new(username))
    older = await client(username).connect(edge, token=old(username))
    await sign_out(api_edge, username)
    await expect_end(older)
    assert (await newer.call("refresh_token", {"token": old(username)}))["code"] == "unauthorized"
    assert (await newer.call("refresh_token", {"token": new(username)}))["success"]
    await newer.settle()
    assert not newer.of("disconnect")


async def test_signing_out_needs_the_scope_users(api_edge: Edge) -> None:
    answer = await Backend(api_edge, READ_KEY).call("POST", f"/v1/users/{uuid.uuid4()}/disconnect")
    assert is_problem(answer, 403, "not_allowed")
    answer = await Backend(api_edge).call("POST", "/v1/users/x/disconnect")
    assert is_problem(answer, 400, "invalid_payload")
