"""The official JavaScript client over each transport and through the upgrade (scenarios in client.mjs)."""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from infra.local.tether import tether
from tests.conformance.servers import Server
from tests.conftest import Name
from tests.harness.waiting import PATIENCE_S

SCRIPT = Path(__file__).with_name("client.mjs")
MODULES = Path(__file__).parents[1] / "e2e" / "js" / "node_modules"
SCENARIOS = re.findall(r"^  async (\w+)\(\) \{", SCRIPT.read_text(), re.MULTILINE)
LIVES_S = (5, 15, 45)
"""Of the tokens that a scenario sees end; where processes start slowly, the first is too short."""
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": None}


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_the_official_client(server: Server, name: Name, transports: str) -> None:
    """Run all scenarios at once, each with its own user and process."""
    assert MODULES.is_dir(), "run `make test`, or `npm ci` in tests/e2e/js, first"
    runs = [run(server, name(f"u{n}"), scenario, transports) for n, scenario in enumerate(SCENARIOS)]
    assert "".join(await asyncio.gather(*runs)) == ""


async def run(server: Server, username: str, scenario: str, transports: str) -> str:
    """Run a scenario; return its error output, empty if it succeeded."""
    node = shutil.which("node")
    assert node is not None, "Node.js is needed"
    process = await asyncio.create_subprocess_exec(
        *tether([node, str(SCRIPT), scenario]),
        env={
            **os.environ,
            "BBGRAM_URL": server.url,
            "BBGRAM_TRANSPORTS": json.dumps(TRANSPORTS[transports]),
            "BBGRAM_AUTH": json.dumps(server.auth(username)),
            "BBGRAM_SHORT_AUTHS": json.dumps([server.auth(username, ttl_s=ttl_s) for ttl_s in LIVES_S]),
            "BBGRAM_USERNAME": username,
            "BBGRAM_SERVER": server.kind,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(3 * PATIENCE_S):
            output, _ = await process.communicate()
    except TimeoutError:
        return f"{scenario} did not end\n"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode() if process.returncode else ""
