"""The official JavaScript client, unmodified, runs every snippet of the seed document (js/scenarios.mjs)."""

import asyncio
import json
import re
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import EdgeFactory, Name
from tests.harness.deployment import Deployment, Edge, make_token, user_id_of, with_profile
from tests.harness.many_chats import add_chats
from tests.harness.node import run_node

JS = Path(__file__).parent / "js"
SCENARIOS = re.findall(r"^export async function (\w+)", (JS / "scenarios.mjs").read_text(), re.MULTILINE)
TRANSPORTS = {"websocket": ["websocket"], "default": None, "polling": ["polling"]}


def person(username: str) -> dict[str, str]:
    return {"username": username, "userId": user_id_of(username), "token": make_token(username)}


async def run(edge: Edge, transports: str, *script: str, **env: str) -> str:
    """Run a script, which must succeed; return what it printed."""
    transports = json.dumps(TRANSPORTS[transports])
    return await run_node(JS, *script, BBGRAM_URL=edge.url, BBGRAM_TRANSPORTS=transports, **env)


def two_people(name: Name) -> dict[str, str]:
    return {f"BBGRAM_{who.upper()}": json.dumps(person(name(who))) for who in ("alice", "bob")}


@pytest.fixture(scope="module")
def outcomes_over(two_edges: Deployment) -> Callable[[str], dict[str, str | None]]:
    """Return a function that runs all scenarios over a transport, once, in one process."""

    @cache
    def run_all(transports: str) -> dict[str, str | None]:
        people = {}
        for scenario in SCENARIOS:
            alice, bob = (f"{who}_{uuid.uuid4().hex[:8]}" for who in ("alice", "bob"))
            expired = make_token(alice, ttl_s=-60)
            people[scenario] = {"alice": person(alice), "bob": person(bob), "expired": expired}
        script = run(two_edges.edges[0], transports, "reference.mjs", BBGRAM_PEOPLE=json.dumps(people))
        return dict(json.loads(asyncio.run(script)))

    return run_all


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_official_client(
    outcomes_over: Callable[[str], dict[str, str | None]], scenario: str, transports: str
) -> None:
    outcomes = outcomes_over(transports)
    assert outcomes[scenario] is None, outcomes[scenario]


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_the_official_client_tries_again_when_its_address_has_opened_too_many_connections(
    start_edge: EdgeFactory, name: Name, transports: str
) -> None:
    edge = start_edge(rate_connects=0.5, rate_connects_burst=1)
    await run(edge, transports, "refused.mjs", **two_people(name))


async def test_a_client_with_more_chats_than_fit_into_a_request_stays_in_step(
    chat: Deployment, name: Name
) -> None:
    with_profile(chat, name("alice"))
    count = 1_700
    popular = add_chats(chat, uuid.UUID(user_id_of(name("alice"))), name("alice"), count)
    peers = [str(peer.username) for peer in popular.chats[:3]]
    await run(chat.edges[0], "websocket", "many_chats.mjs", str(count), *peers, **two_people(name))
