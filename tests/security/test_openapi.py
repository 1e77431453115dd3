"""The server API does what its OpenAPI document says, whatever schemathesis makes of that."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import Name
from tests.harness.deployment import Deployment, Edge, user_id_of, with_profile
from tests.harness.raw import RawClient, event
from tests.harness.server_api import API_KEYS, KEY, Backend
from tests.security.siege import errors_in

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "contract" / "openapi.yaml"
PROGRAM: Final = Path(sys.executable).with_name("schemathesis")
EDGES: Final = {"api": {"api_keys": API_KEYS}}
MESSAGES: Final = 50
ENDS_WITHIN_S: Final = 300

CONFIG: Final = """
base-url = {url}
continue-on-failure = true

[headers]
Authorization = {key}

[generation]
max-examples = 15
deterministic = true
database = "none"

[cache]
enabled = false

# What a text, a name or a cursor may be, no schema says.
[checks.positive_data_acceptance]
enabled = false

# Whoever is erased can do nothing any more, so it is others.
[[operations]]
include-operation-id = "erase_user"
[operations.parameters."path.userId"]
dictionary = "doomed"
"""
IDS: Final = {
    "path.userId": "users",
    "path.otherId": "users",
    "path.chatId": "chats",
    "path.seq": "seqs",
    "path.reportId": "reports",
    "body.from": "users",
    "body.to": "users",
    "body.messages[*].from": "users",
    "body.messages[*].to": "users",
}
"""Where ids stand that often exist."""


@pytest.fixture
async def known(edges: Mapping[str, Edge], chat: Deployment, name: Name) -> dict[str, list[Any]]:
    """Return the ids of users, of the chat of two of them, its messages and a report."""
    alice, bob, carol = (with_profile(chat, name(who)) for who in ("alice", "bob", "carol"))
    users = [user_id_of(alice), user_id_of(bob)]
    many = [{"from": users[0], "to": users[1], "text": f"hello {number}"} for number in range(MESSAGES)]
    sent = (await Backend(edges["api"]).send({"messages": many})).json()["results"][0]["message"]
    async with RawClient(edges["api"], bob) as raw:
        asked = {"chatId": sent["chatId"], "seq": 1, "reason": "abuse"}
        report_id = (await raw.ask(event("report", asked)))["reportId"]
    seqs = list(range(1, MESSAGES + 1))
    ids = {"users": users, "chats": [sent["chatId"]], "seqs": seqs, "reports": [report_id]}
    return {**ids, "doomed": [user_id_of(carol)]}


def config(edge: Edge, known: Mapping[str, list[Any]]) -> str:
    """Return the configuration, which is TOML; strings and lists are written as in JSON."""
    lines = [CONFIG.format(url=json.dumps(edge.url), key=json.dumps(f"Bearer {KEY}"))]
    lines += [f"[dictionaries.{name}]\nvalues = {json.dumps(ids)}" for name, ids in known.items()]
    for place, ids in IDS.items():
        lines.append(f'[parameters."{place}"]\ndictionary = "{ids}"\nprobability = 0.7')
    return "\n".join(lines)


def test_every_answer_is_one_that_the_document_describes(
    edges: Mapping[str, Edge], chat: Deployment, known: dict[str, list[Any]], tmp_path: Path
) -> None:
    parts = (edges["api"], *chat.workers)
    read = [len(part.log) for part in parts]
    (tmp_path / "schemathesis.toml").write_text(config(edges["api"], known))
    options = ["--phases=coverage,fuzzing", "--report=json", "--report-json-path=report.json", "--no-color"]
    command = [str(PROGRAM), "run", str(DOCUMENT), *options]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=ENDS_WITHIN_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rates = json.loads((tmp_path / "report.json").read_text())["valid_rates"]
    never = [call for call, phases in rates.items() if not sum(one["accepted"] for one in phases.values())]
    assert never == [], f"of these calls, no success was seen: {rates}"
    for part, start in zip(parts, read, strict=True):
        assert errors_in(part.log[start:]) == []
