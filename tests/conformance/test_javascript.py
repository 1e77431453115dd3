"""The official JavaScript client over each transport and through the upgrade (scenarios in client.mjs)."""

import json
import re
from pathlib import Path

import pytest

from tests.conformance.servers import Server
from tests.conftest import Name
from tests.harness.node import run_node

SCRIPT = Path(__file__).with_name("client.mjs")
JS = Path(__file__).parents[1] / "e2e" / "js"
SCENARIOS = re.findall(r"^    async (\w+)\(\) \{", SCRIPT.read_text(), re.MULTILINE)
LIVES_S = (5, 15, 45)
"""Of the tokens that a scenario sees end; where processes start slowly, the first is too short."""
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": None}


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_the_official_client(server: Server, name: Name, transports: str) -> None:
    """Run all scenarios at once, each with a user of its own."""
    people = {scenario: person(server, name(f"u{n}")) for n, scenario in enumerate(SCENARIOS)}
    await run_node(
        JS,
        str(SCRIPT),
        BBGRAM_URL=server.url,
        BBGRAM_TRANSPORTS=json.dumps(TRANSPORTS[transports]),
        BBGRAM_PEOPLE=json.dumps(people),
        BBGRAM_SERVER=server.kind,
    )


def person(server: Server, username: str) -> dict[str, object]:
    """Return who signs in, and with what."""
    short = [server.auth(username, ttl_s=ttl_s) for ttl_s in LIVES_S]
    return {"username": username, "auth": server.auth(username), "shortAuths": short}
