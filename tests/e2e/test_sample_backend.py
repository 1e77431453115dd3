"""The backend that docs/examples shows: it runs as it is, and the chat calls it and is called by it."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from standardwebhooks import Webhook

from infra.local.tether import tether
from tests.conftest import ClientFactory, Name
from tests.harness import webhooks
from tests.harness.client import Client
from tests.harness.deployment import ANSWERED_S, Deployment, Edge, user_id_of
from tests.harness.engines import Engines, free_port
from tests.harness.key_server import KeyServer, Project
from tests.harness.server_api import API_KEYS, KEY, Backend
from tests.harness.waiting import until
from tests.integration.channels.endpoint import make_certificate

EXAMPLE: Final = Path(__file__).parents[2] / "docs" / "examples" / "backend.py"
TEAM: Final = str(uuid.uuid4())


@dataclass
class Team:
    """The sample backend, and the chat that it belongs to."""

    chat: Deployment
    project: Project
    url: str

    @property
    def edge(self) -> Edge:
        return self.chat.edges[0]

    def token(self, username: str) -> str:
        """Return the access token of a user, whose name only the sample tells the chat."""
        return self.project.token(sub=user_id_of(username), user_metadata={})

    def ask(self, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
        """Make a request to the sample."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        url = f"{self.url}{path}"
        return httpx.request(method, url, headers=headers, verify=False, timeout=ANSWERED_S, **options)

    def sign_up(self, username: str) -> httpx.Response:
        return self.ask("POST", "/sign-up", self.token(username), json={"username": username})


@pytest.fixture(scope="module")
def team(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Start the sample, an edge, a worker, beat and what sends webhooks."""
    folder, project = tmp_path_factory.mktemp("team"), Project(KeyServer())
    certificate = make_certificate(folder / "localhost.pem")
    chat = Deployment(
        engines.new_store(),
        folder,
        forked=True,
        api_keys=API_KEYS,
        supabase_url=project.server.url,
        provision_profiles=False,
        **webhooks.SETTINGS,
    )
    del chat.env["BBGRAM_SUPABASE_JWT_SECRET"]
    team = Team(chat, project, f"https://localhost:{free_port()}")
    sample = None
    try:
        webhooks.start_sender(chat, f"{team.url}/chat-events", certificate)
        chat.start(edges=1, workers=1)
        sample = start_sample(team, certificate, folder / "backend.log")
        yield team
    finally:
        if sample is not None:
            sample.terminate()
            sample.wait()
        chat.stop()
        project.server.stop()


def start_sample(team: Team, certificate: Path, log: Path) -> subprocess.Popen[bytes]:
    """Run the sample as its first lines say."""
    env = {
        **os.environ,
        "CHAT_URL": team.edge.url,
        "CHAT_KEY": KEY,
        "CHAT_TEAM_ID": TEAM,
        "CHAT_WEBHOOK_SECRET": webhooks.SECRET,
        "SUPABASE_URL": team.project.server.url,
    }
    command = [sys.executable, "-m", "uvicorn", "backend:app", f"--app-dir={EXAMPLE.parent}"]
    options = [f"--port={team.url.rpartition(':')[2]}", f"--ssl-certfile={certificate}"]
    with log.open("wb") as out:
        return subprocess.Popen(tether([*command, *options]), env=env, stdout=out, stderr=subprocess.STDOUT)


async def until_up(team: Team) -> None:
    async def is_up() -> bool:
        try:
            return team.ask("GET", "/openapi.json").is_success
        except httpx.TransportError:
            return False

    await until(is_up, "the sample is up")


async def arrive(team: Team, user: Client) -> Client:
    """Sign a user up, and connect them."""
    signed_up = team.sign_up(user.username)
    assert (signed_up.status_code, signed_up.json()) == (
        200,
        {"userId": user.user_id, "username": user.username},
    )
    return await user.connect(team.edge, token=team.token(user.username))


async def test_the_sample_signs_up_welcomes_moderates_and_erases(
    team: Team, client: ClientFactory, name: Name
) -> None:
    await until_up(team)
    alice, bob = await arrive(team, client(name("alice"))), await arrive(team, client(name("bob")))

    # Signing up again changes nothing, and welcomes nobody twice.
    assert team.sign_up(alice.username).status_code == 200
    assert welcomes(team.chat, alice) == [f"Welcome, {alice.username}!"]
    welcome = await alice.expect("new_message", lambda one: one["senderId"] == TEAM)
    assert welcome["text"] == f"Welcome, {alice.username}!"
    taken = team.ask("POST", "/sign-up", team.token(name("carol")), json={"username": alice.username})
    assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")

    # A clear case is closed; another one is left to people.
    clear, unclear = [await report(bob, alice, text) for text in ("visit the casino", "I do not like you")]
    removed = await alice.expect("message_changed", lambda one: one["text"] == "")
    assert removed["seq"] == clear["seq"]
    backend = Backend(team.edge)

    async def is_closed() -> bool:
        found = await backend.call("GET", f"/v1/reports/{clear['reportId']}")
        return found.json()["report"]["closedAt"] is not None

    await until(is_closed, "the report is closed")
    await until(lambda: not team.chat.rows("SELECT FROM outbox"), "the sample has heard of everything")
    listed = (await backend.call("GET", "/v1/reports")).json()["reports"]
    assert [one["reportId"] for one in listed] == [unclear["reportId"]]

    # Who leaves is signed out, and their words go.
    left = team.ask("DELETE", "/account", team.token(bob.username))
    assert (left.status_code, left.json()["userId"], left.json()["mode"]) == (202, bob.user_id, "delete")
    await bob.expect("disconnect")
    team.chat.rows("UPDATE erasures SET started_at = started_at - interval '1 minute'")
    await asyncio.to_thread(team.chat.run, "run", "erase_users")

    async def is_erased() -> bool:
        answer = team.ask("DELETE", "/account", team.token(bob.username)).json()
        return answer["finishedAt"] is not None and answer["manifest"]["complete"]

    await until(is_erased, "the user is erased")
    assert not team.chat.rows("SELECT FROM messages WHERE sender_id = :id AND text <> ''", id=bob.user_id)


def welcomes(chat: Deployment, user: Client) -> list[str]:
    rows = chat.rows(
        "SELECT text FROM messages WHERE sender_id = :team AND recipient_id = :user",
        team=TEAM,
        user=user.user_id,
    )
    return [row.text for row in rows]


async def report(reporter: Client, sender: Client, text: str) -> dict[str, Any]:
    """Have a message sent and reported; return the report's id and the message's seq."""
    sent = (await sender.send(reporter.username, text))["message"]
    message = {"chatId": sent["chatId"], "seq": sent["seq"]}
    return {**await reporter.call("report", {**message, "reason": "abuse"}), **message}


async def test_the_sample_believes_neither_strangers_nor_unsigned_events(team: Team, name: Name) -> None:
    await until_up(team)
    forged = Project(KeyServer())
    forged.server.stop()
    for token in ("x", "", forged.token(iss=team.project.issuer)):
        assert team.ask("POST", "/sign-up", token, json={"username": name("eve")}).status_code == 401
        assert team.ask("DELETE", "/account", token).status_code == 401
    body = json.dumps({"events": [{"type": "report.created", "data": {"reportId": str(uuid.uuid4())}}]})
    assert team.ask("POST", "/chat-events", content=body, headers=signed(body)).status_code == 204
    wrong = base64.b64encode(b"another secret").decode()
    for headers in ({}, signed(body, wrong), {**signed(body), "webhook-signature": "v1"}):
        assert team.ask("POST", "/chat-events", content=body, headers=headers).status_code == 401


def signed(body: str, secret: str = webhooks.SECRET) -> dict[str, str]:
    """Return the headers of a request with this body."""
    now = datetime.now(UTC)
    signature = Webhook(secret).sign("events_1", now, body)
    stamps = {"webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    return {"webhook-id": "events_1", **stamps}


def test_the_sample_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 150
