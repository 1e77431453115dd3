"""Peers that die without a word: nothing arrives any more, and nobody is told."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conftest import ClientFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment
from tests.harness.engines import Engines, Store
from tests.harness.proxy import Direction, Proxy

HEALED_S = 30.0
"""By then messages are stored again."""


@pytest.fixture
async def proxies(engines: Engines) -> AsyncIterator[dict[str, Proxy]]:
    """Start a proxy in front of each engine."""
    ports = {"postgres": engines.postgres.port, "redis": engines.valkey.port}
    proxies = {name: await Proxy(port).start() for name, port in ports.items()}
    yield proxies
    for proxy in proxies.values():
        await proxy.cut()


@pytest.fixture
async def chat_behind_proxies(
    engines: Engines, proxies: dict[str, Proxy], tmp_path: Path
) -> AsyncIterator[Deployment]:
    """Start a chat that reaches Postgres and Redis through the proxies."""
    store = engines.new_store()
    behind = Store(
        database_url=moved(store.database_url, proxies["postgres"]),
        redis_url=moved(store.redis_url, proxies["redis"]),
    )
    deployment = Deployment(behind, tmp_path, forked=True)
    await asyncio.to_thread(deployment.start)
    yield deployment
    await asyncio.to_thread(deployment.stop)
    engines.release(store)


def moved(url: str, proxy: Proxy) -> str:
    """Return the address with the port of the proxy."""
    return make_url(url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)


@pytest.mark.parametrize("direction", ["to the server", "from the server"])
@pytest.mark.parametrize("gone", ["postgres", "redis"])
async def test_messages_are_stored_again_soon_after_an_engine_has_gone_silent(
    chat_behind_proxies: Deployment,
    proxies: dict[str, Proxy],
    client: ClientFactory,
    name: Name,
    gone: str,
    direction: Direction,
) -> None:
    edge = chat_behind_proxies.edges[0]
    alice, bob = [await client(name(who)).connect(edge) for who in ("alice", "bob")]
    assert (await alice.send(bob.username, "before"))["success"]
    proxies[gone].freeze(direction)
    started = time.monotonic()
    acks = await send_until_stored(alice, bob)
    assert time.monotonic() - started < HEALED_S
    assert {ack["code"] for ack in acks[:-1]} <= {"unavailable"}
    await bob.expect("new_message", lambda message: message["text"] == "after")
    assert [message["text"] for message in bob.of("new_message")] == ["before", "after"]
    if gone == "postgres":
        assert '"error": "Postgres: ' in chat_behind_proxies.workers[0].log


async def send_until_stored(alice: Client, bob: Client) -> list[dict[str, object]]:
    """Send the same message until it is stored; return all answers."""
    acks = [await alice.send(bob.username, "after", clientId="one")]
    while not acks[-1]["success"]:
        acks.append(await alice.send(bob.username, "after", clientId="one"))
    return acks
