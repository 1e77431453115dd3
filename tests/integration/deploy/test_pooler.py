"""Everything runs through a transaction pooler, which gives each transaction any connection to Postgres."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.conftest import ClientFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment, user_id_of
from tests.harness.engines import Store
from tests.harness.supabase import SupabaseProject
from tests.harness.waiting import until
from tests.integration.deploy.conftest import Pooler, ProjectFactory

MANY = 20
"""More than psycopg waits for before it would prepare a statement."""


@dataclass
class Pooled:
    """A project, and a chat whose processes reach it through a pooler only."""

    project: SupabaseProject
    address: str
    chat: Deployment

    async def arrive(self, client: Client) -> Client:
        """Connect a user of the project."""
        return await client.connect(self.chat.edges[0])

    async def swept(self) -> None:
        """Wait until the sweep has handled all chats."""
        due = "SELECT id FROM bbgram.chats WHERE sweep_at IS NOT NULL"
        await until(lambda: not self.project.rows(due), "all chats are swept")

    def session_settings(self) -> list[str]:
        """Return the settings that a transaction has left behind on the connection it was given."""
        with psycopg.connect(self.address.replace("+psycopg", "")) as conn:
            left = (
                "SELECT name FROM pg_settings WHERE source = 'session' AND name ~ 'timeout|search_path|plan'"
            )
            return [row[0] for row in conn.execute(left)]


@pytest.fixture
def pooled(make_project: ProjectFactory, pooler: Pooler, tmp_path: Path) -> Iterator[Pooled]:
    project = make_project()
    address = pooler(project)
    folder = tmp_path / "chat"
    folder.mkdir()
    chat = Deployment(
        Store(address, project.store.redis_url),
        folder,
        forked=True,
        database_pooled=True,
        sweep_s=0.3,
        sweep_after_s=0.3,
        offline_delay_s=0,
        device_channels="log",
        # Otherwise beat runs them too.
        beat_functions=False,
    )
    chat.run("migrate")
    chat.start_functions()
    yield Pooled(project, address, chat.start(workers=2))
    chat.stop()


async def test_the_whole_chat_runs_through_a_transaction_pooler(
    pooled: Pooled, client: ClientFactory, name: Name
) -> None:
    chat, project = pooled.chat, pooled.project
    for person in ("alice", "bob"):
        project.sign_up(user_id=uuid.UUID(user_id_of(name(person))))
    alice, bob = [await pooled.arrive(client(name(person))) for person in ("alice", "bob")]
    assert (await bob.call("register_device", {"channel": "log", "address": "phone"}))["success"]
    await bob.close()

    acks = await asyncio.gather(*(alice.send(bob.username, str(number)) for number in range(MANY)))
    assert [ack for ack in acks if not ack["success"]] == []
    project.rows("ALTER TABLE bbgram.messages ADD CONSTRAINT no_poison CHECK (text <> 'poison')")
    assert (await alice.send(bob.username, "poison"))["code"] == "internal"
    project.rows("ALTER TABLE bbgram.messages DROP CONSTRAINT no_poison")
    assert "no_poison" in await asyncio.to_thread(chat.run, "dead-letters")
    assert "replayed" in await asyncio.to_thread(chat.run, "dead-letters", "replay", "--all")

    await pooled.swept()
    assert "notified: 1," in await asyncio.to_thread(chat.run, "run", "offline_delivery")
    await until(lambda: '"notification"' in chat.functions[0].log, "bob is notified")
    await asyncio.to_thread(chat.run, "run", "cleanup")

    back = await pooled.arrive(client(bob.username))
    await back.expect("new_message", count=MANY + 1)
    (gap,) = (await back.call("sync", {"cursors": {}}))["chats"]
    assert [message["seq"] for message in gap["messages"]] == list(range(1, MANY + 2))
    read = await back.call("mark_as_read", {"chatId": gap["chatId"]})
    assert (read["readUpTo"], read["unread"]) == (MANY + 1, 0)
    await alice.expect("message_status", lambda status: status["upTo"] == MANY + 1)
    assert pooled.session_settings() == []
