"""Clients that know nothing of what is new go on beside those that do, unchanged."""

import json
from pathlib import Path

from tests.compat.release import Release
from tests.conftest import Name
from tests.harness.deployment import Deployment, make_token, user_id_of, with_profile
from tests.harness.node import CLIENT, run_node
from tests.harness.server_api import API_KEYS, KEY

SCRIPT = Path(__file__).with_name("old_clients.mjs").read_text()

OLD = Release("0.2.0", "5ba933f8ed5d36533023aedaaa740b3e50782367")
"""The last release whose TypeScript client does not know that messages change."""


def person(chat: Deployment, username: str) -> str:
    known = {"id": user_id_of(username), "token": make_token(username)}
    return json.dumps({"username": with_profile(chat, username), **known})


async def test_the_seeds_client_and_that_of_an_old_release_run_beside_the_new_one(
    chat: Deployment, name: Name, tmp_path: Path
) -> None:
    OLD.extract(tmp_path, "clients/typescript/src")
    api_edge = chat.start_edge(api_keys=API_KEYS)
    await run_node(
        CLIENT,
        "--input-type=module",
        "--eval",
        SCRIPT,
        BBGRAM_URL=chat.edges[0].url,
        OLD_CLIENT=str(tmp_path / "clients" / "typescript" / "src"),
        NEW_CLIENT=str(CLIENT / "src"),
        FOLDER=str(tmp_path),
        API_URL=api_edge.url,
        API_KEY=KEY,
        ALICE=person(chat, name("alice")),
        BOB=person(chat, name("bob")),
    )
    api_edge.stop()
    chat.edges.remove(api_edge)
