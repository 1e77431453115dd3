"""The official JavaScript client, unmodified, runs every snippet of the seed document (js/scenarios.mjs)."""

import json
import re
import uuid
from pathlib import Path

import pytest

from tests.conftest import EdgeFactory, Name
from tests.harness.deployment import Deployment, Edge, make_token, user_id_of, with_profile
from tests.harness.many_chats import add_chats
from tests.harness.node import run_node

JS = Path(__file__).parent / "js"
SCENARIOS = re.findall(r"^export async function (\w+)", (JS / "scenarios.mjs").read_text(), re.MULTILINE)
TRANSPORTS = {"websocket": ["websocket"], "default": None, "polling": ["polling"]}


def person(username: str) -> str:
    return json.dumps({"username": username, "userId": user_id_of(username), "token": make_token(username)})


async def run(edge: Edge, name: Name, transports: str, *script: str) -> None:
    """Run a script, which must succeed."""
    await run_node(
        JS,
        *script,
        BBGRAM_URL=edge.url,
        BBGRAM_TRANSPORTS=json.dumps(TRANSPORTS[transports]),
        BBGRAM_ALICE=person(name("alice")),
        BBGRAM_BOB=person(name("bob")),
        BBGRAM_EXPIRED_TOKEN=make_token(name("alice"), ttl_s=-60),
    )


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_the_official_client(two_edges: Deployment, name: Name, scenario: str, transports: str) -> None:
    await run(two_edges.edges[0], name, transports, "reference.mjs", scenario)


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_the_official_client_tries_again_when_its_address_has_opened_too_many_connections(
    start_edge: EdgeFactory, name: Name, transports: str
) -> None:
    edge = start_edge(rate_connects=0.5, rate_connects_burst=1)
    await run(edge, name, transports, "refused.mjs")


async def test_a_client_with_more_chats_than_fit_into_a_request_stays_in_step(
    chat: Deployment, name: Name
) -> None:
    with_profile(chat, name("alice"))
    count = 1_700
    popular = add_chats(chat, uuid.UUID(user_id_of(name("alice"))), name("alice"), count)
    peers = [str(peer.username) for peer in popular.chats[:3]]
    await run(chat.edges[0], name, "websocket", "many_chats.mjs", str(count), *peers)
