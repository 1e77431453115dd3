"""Clients that know nothing of what is new go on beside those that do, unchanged."""

import json
from pathlib import Path

from tests.compat.release import Release
from tests.conftest import Name
from tests.harness.deployment import Deployment, make_token, with_profile
from tests.harness.node import CLIENT, run_node

SCRIPT = Path(__file__).with_name("old_clients.mjs").read_text()

OLD = Release("0.2.0", "5ba933f8ed5d36533023aedaaa740b3e50782367")
"""The last release whose TypeScript client does not know that messages change."""


def person(chat: Deployment, username: str) -> str:
    return json.dumps({"username": with_profile(chat, username), "token": make_token(username)})


async def test_the_seeds_client_and_that_of_an_old_release_run_beside_the_new_one(
    chat: Deployment, name: Name, tmp_path: Path
) -> None:
    OLD.extract(tmp_path, "clients/typescript/src")
    await run_node(
        CLIENT,
        "--input-type=module",
        "--eval",
        SCRIPT,
        BBGRAM_URL=chat.edges[0].url,
        OLD_CLIENT=str(tmp_path / "clients" / "typescript" / "src"),
        NEW_CLIENT=str(CLIENT / "src"),
        FOLDER=str(tmp_path),
        ALICE=person(chat, name("alice")),
        BOB=person(chat, name("bob")),
    )
