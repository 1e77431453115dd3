"""The app's own backend has a user erased over HTTP, and their peer sees it."""

import asyncio
import json
import uuid
from typing import Any

from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment, user_id_of
from tests.harness.server_api import API_KEYS, READ_KEY, Backend, is_problem

SECRET = "a secret nobody may keep"


async def talk(chat: Deployment, client: ClientFactory, name: Name) -> tuple[Client, Client]:
    """Have alice and bob write to each other."""
    alice, bob = client(name("alice")), client(name("bob"))
    for user in (alice, bob):
        await user.connect(chat.edges[0])
        await user.call("get_settings", {})
    assert (await alice.send(bob.username, SECRET))["success"]
    assert (await bob.send(alice.username, "hello"))["success"]
    return alice, bob


async def run(chat: Deployment) -> str:
    """Run the function as if it had been asked for a minute ago."""
    chat.rows("UPDATE erasures SET started_at = started_at - interval '1 minute' WHERE finished_at IS NULL")
    return await asyncio.to_thread(chat.run, "run", "erase_users")


async def test_a_user_is_erased_over_http(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(api_keys=API_KEYS, sweep_s=1)
    chat.start(edges=1, workers=1)
    alice, bob = await talk(chat, client, name)
    backend, user_id = Backend(chat.edges[0]), user_id_of(alice.username)
    path = f"/v1/users/{user_id}"

    asked = await backend.call("DELETE", path, params={"mode": "delete"})
    assert asked.status_code == 202
    erasure: dict[str, Any] = asked.json()["erasure"]
    assert (erasure["userId"], erasure["mode"], erasure["finishedAt"]) == (user_id, "delete", None)
    assert is_problem(await backend.call("GET", path), 404, "user_not_found")
    await alice.expect("error", lambda one: one["code"] == "unauthorized")
    await alice.expect("disconnect")
    assert (await backend.call("DELETE", path, params={"mode": "delete"})).json() == asked.json()

    assert "finished: 1" in await run(chat)
    changed = await bob.expect("message_changed", lambda one: one["senderId"] == user_id)
    assert (changed["text"], changed["senderUsername"]) == ("", "Deleted user")
    assert changed["deletedAt"]
    assert not chat.rows("SELECT FROM messages WHERE text = :text", text=SECRET)

    done = (await backend.call("DELETE", path, params={"mode": "delete"})).json()["erasure"]
    assert done["finishedAt"] == done["manifest"]["finishedAt"]
    assert done["manifest"]["counts"]["postgres"] == {"messages": 1, "profiles": 1}
    assert done["manifest"]["complete"]
    assert SECRET not in str(done)
    anonymise = await backend.call("DELETE", path, params={"mode": "anonymise"})
    assert is_problem(anonymise, 403, "not_allowed")
    for params in ({}, {"mode": "burn"}):
        assert is_problem(await backend.call("DELETE", path, params=params), 400, "invalid_payload")
    reader = Backend(chat.edges[0], READ_KEY)
    assert is_problem(await reader.call("DELETE", path, params={"mode": "delete"}), 403, "not_allowed")


async def test_a_user_is_exported_over_http(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(api_keys=API_KEYS)
    chat.start(edges=1, workers=1, beat=False)
    alice, _ = await talk(chat, client, name)
    backend, path = Backend(chat.edges[0]), f"/v1/users/{user_id_of(alice.username)}/export"
    lines: list[Any] = []
    params: dict[str, str] = {}
    while True:
        page = (await backend.call("GET", path, params=params)).json()
        lines += page["lines"]
        if page["nextCursor"] is None:
            break
        params = {"cursor": page["nextCursor"]}
    printed = await asyncio.to_thread(chat.run, "user", "export", alice.username)
    assert [line for line in lines if line["type"] != "chat"] == [
        line for line in map(json.loads, printed.splitlines()) if line["type"] != "chat"
    ]
    assert [line["text"] for line in lines if line["type"] == "message"] == [SECRET, "hello"]
    assert is_problem(await backend.call("GET", path, params={"cursor": "x"}), 400, "invalid_payload")
    unknown = await backend.call("GET", f"/v1/users/{uuid.uuid4()}/export")
    assert is_problem(unknown, 404, "user_not_found")
    assert is_problem(await Backend(chat.edges[0], READ_KEY).call("GET", path), 403, "not_allowed")
