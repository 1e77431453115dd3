"""What happens on an edge when a project bans, signs out or deletes a user; and what operators hear of it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from socketio.exceptions import ConnectionError as Refused

from tests.conftest import ClientFactory, EdgeFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Edge
from tests.harness.supabase_auth import PUBLISHABLE_KEY, SupabaseAuth, User

SHORT_S = 12
"""Life of a token that a test waits for, so long that a client on a busy machine signs in before its end."""
ENDS = [SupabaseAuth.ban, SupabaseAuth.sign_out, SupabaseAuth.soft_delete, SupabaseAuth.delete]


@pytest.fixture
def supabase() -> Iterator[SupabaseAuth]:
    supabase = SupabaseAuth()
    yield supabase
    supabase.close()


async def arrive(
    supabase: SupabaseAuth, edge: Edge, client: ClientFactory, username: str
) -> tuple[User, str, Client]:
    user = supabase.sign_up(metadata={"username": username})
    token = supabase.sign_in(user)
    return user, token, await client(username).connect(edge, token=token)


async def is_refused(edge: Edge, client: Client, token: str) -> Any:
    """Expect a new connection to be refused; return what the client is told."""
    with pytest.raises(Refused):
        await client.connect(edge, token=token)
    return (await client.expect("connect_error"))["data"]


def refusals(edge: Edge) -> list[dict[str, Any]]:
    """Return the refusals that this edge has logged; an earlier one may have had the same file."""
    log = edge.log.rpartition('"edge_started"')[2]
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "sign_in_refused"]


async def test_remote_mode_notices_at_the_next_connect_and_refresh(
    supabase: SupabaseAuth, start_edge: EdgeFactory, client: ClientFactory, name: Name
) -> None:
    edge = start_edge(supabase_url=supabase.url, auth_mode="remote", supabase_key=PUBLISHABLE_KEY)
    for number, end in enumerate(ENDS):
        username = name(f"alice{number}")
        user, token, alice = await arrive(supabase, edge, client, username)
        end(supabase, user)
        assert (await alice.send(username, "The socket stays open"))["success"]
        ack = await alice.call("refresh_token", {"token": token})
        assert (ack["success"], ack["code"]) == (False, "unauthorized")
        told = await is_refused(edge, client(username), token)
        assert (told["code"], told["retryable"]) == ("unauthorized", False)
    (line,) = refusals(edge)
    assert (line["reason"], line["during"]) == ("refused_by_auth_server", "refresh_token")
    assert line["got"] == "403 user_banned"
    assert "eyJ" not in edge.log


async def test_local_mode_accepts_a_token_until_it_expires(
    supabase: SupabaseAuth, start_edge: EdgeFactory, client: ClientFactory, name: Name
) -> None:
    edge = start_edge(supabase_url=supabase.url)
    for number, end in enumerate(ENDS):
        username = name(f"bob{number}")
        user, token, bob = await arrive(supabase, edge, client, username)
        end(supabase, user)
        assert (await bob.call("refresh_token", {"token": token}))["success"]
        assert await client(username).connect(edge, token=token)
    assert refusals(edge) == []


async def test_local_mode_notices_when_the_token_has_expired(
    supabase: SupabaseAuth, start_edge: EdgeFactory, client: ClientFactory, name: Name
) -> None:
    edge = start_edge(supabase_url=supabase.url)

    async def outlive_token(username: str, end: Callable[[SupabaseAuth, User], None]) -> None:
        user, _, bob = await arrive(supabase, edge, client, username)
        short = supabase.sign_in(user, ttl_s=SHORT_S)
        end(supabase, user)
        other = await client(username).connect(edge, token=short)
        await other.expect("disconnect")
        told = await is_refused(edge, client(username), short)
        assert (told["code"], told["retryable"]) == ("token_expired", True)
        ack = await bob.call("refresh_token", {"token": short})
        assert (ack["success"], ack["code"]) == (False, "token_expired")

    await asyncio.gather(*(outlive_token(name(f"bob{number}"), end) for number, end in enumerate(ENDS)))


async def test_a_wrong_issuer_is_told_to_the_operator_and_not_to_the_client(
    supabase: SupabaseAuth, start_edge: EdgeFactory, client: ClientFactory, name: Name
) -> None:
    edge = start_edge(supabase_url=supabase.url)
    supabase.issuer = "https://auth.example.com/auth/v1"
    token = supabase.sign_in(supabase.sign_up())
    told = await is_refused(edge, client(name("carol")), token)
    assert told == {
        "code": "unauthorized",
        "message": "The access token comes from another issuer.",
        "retryable": False,
    }
    (line,) = refusals(edge)
    assert (line["reason"], line["during"], line["count"]) == ("issuer", "connect", 1)
    assert (line["expected"], line["got"]) == (f"{supabase.url}/auth/v1", supabase.issuer)


async def test_an_unknown_key_within_the_cool_down_is_worth_another_try(
    supabase: SupabaseAuth, start_edge: EdgeFactory, client: ClientFactory, name: Name
) -> None:
    edge = start_edge(supabase_url=supabase.url, jwks_cooldown_s=600)
    _, _, dave = await arrive(supabase, edge, client, name("dave"))
    supabase.add_key("next")
    supabase.rotate("next")
    username = name("erin")
    token = supabase.sign_in(supabase.sign_up(metadata={"username": username}))
    told = await is_refused(edge, client(username), token)
    ack = await dave.call("refresh_token", {"token": token})
    for answer in (told, ack, await dave.expect("error")):
        assert (answer["code"], answer["retryable"]) == ("unavailable", True)
        assert 590_000 < answer["retryAfterMs"] <= 600_000
