"""Names come with tokens, where the workers take them from there."""

import time

from tests.conftest import ClientFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Edge, make_token


def token(client: Client, username: str | None, later_s: float = 0.0) -> str:
    """Sign a token of this user with another name, as if a while ago."""
    issued_at = int(time.time() - 100 + later_s)
    return make_token(
        client.username, user_metadata={"username": username} if username else {}, iat=issued_at
    )


async def test_a_name_chosen_later_counts_after_a_refresh(
    edge: Edge, client: ClientFactory, name: Name
) -> None:
    alice, bob = client(name("alice")), await client(name("bob")).connect(edge)
    await bob.send(bob.username, "I am here")
    await alice.connect(edge, token=token(alice, None))
    assert "username" not in alice.of("connection_success")[0]
    assert (await alice.send(bob.username, "hello"))["code"] == "profile_missing"
    ack = await alice.call("refresh_token", {"token": token(alice, alice.username)})
    assert ack["username"] == alice.username
    assert (await alice.send(bob.username, "hello"))["success"]
    assert (await bob.expect("new_message", lambda m: m["text"] == "hello"))[
        "senderUsername"
    ] == alice.username


async def test_a_changed_name_counts_after_a_refresh_and_an_old_token_changes_nothing(
    edge: Edge, client: ClientFactory, name: Name
) -> None:
    alice, bob = client(name("alice")), await client(name("bob")).connect(edge)
    await bob.send(bob.username, "I am here")
    await alice.connect(edge, token=token(alice, alice.username))
    assert (await alice.send(bob.username, "one"))["message"]["senderUsername"] == alice.username
    renamed = f"{alice.username}_2"
    await alice.call("refresh_token", {"token": token(alice, renamed, later_s=30)})
    assert (await alice.send(bob.username, "two"))["message"]["senderUsername"] == renamed
    assert (await bob.send(renamed, "hello"))["success"]
    assert (await bob.send(alice.username, "hello"))["code"] == "user_not_found"
    other = client(alice.username)
    await other.connect(edge, token=token(alice, alice.username))
    assert (await other.send(bob.username, "three"))["message"]["senderUsername"] == renamed
    again = client(alice.username)
    await again.connect(edge, token=token(alice, renamed, later_s=60))
    assert again.of("connection_success")[0]["username"] == renamed
