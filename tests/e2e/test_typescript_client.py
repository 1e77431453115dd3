"""The TypeScript client (clients/typescript) against real edges and workers."""

import asyncio
import json
from pathlib import Path

from redis import Redis

from tests.conftest import DeploymentFactory
from tests.harness.deployment import SECRET, SUPABASE_URL, Deployment
from tests.harness.node import vitest

BETWEEN_FAULTS = 25
"""How many messages are stored after one fault and before the next."""


def addresses(chat: Deployment) -> dict[str, str]:
    """Return what the client's tests need to know of a deployment."""
    return {
        "BBGRAM_EDGES": json.dumps([edge.url for edge in chat.edges]),
        "BBGRAM_SECRET": SECRET,
        "BBGRAM_SUPABASE_URL": SUPABASE_URL,
    }


async def test_the_typescript_client_against_real_edges_and_workers(
    two_edges: Deployment, tmp_path: Path
) -> None:
    deleting = asyncio.create_task(_delete_chats(two_edges, tmp_path))
    try:
        await vitest("edge", "--no-isolate", BBGRAM_DELETE=str(tmp_path), **addresses(two_edges))
    finally:
        deleting.cancel()


async def test_what_the_typescript_client_reports_as_sent_is_stored_once_whatever_breaks(
    deploy: DeploymentFactory, tmp_path: Path
) -> None:
    chat = deploy(deadline_s=3, sweep_after_s=2).start(edges=2, workers=2)
    over, report = tmp_path / "over", tmp_path / "report.json"
    files = {"BBGRAM_FAULTS": str(over), "BBGRAM_REPORT": str(report)}
    async with asyncio.TaskGroup() as both:
        both.create_task(vitest("edge", "faults", **addresses(chat), **files))
        both.create_task(_break_everything(chat, over))

    found = json.loads(report.read_text())
    rows = chat.rows("SELECT seq, id, text, client_id FROM messages ORDER BY seq")
    stored = [[row.seq, str(row.id), row.text] for row in rows]
    assert found["stores"] == [stored, stored]
    client_ids = [row.client_id for row in rows]
    assert len(set(client_ids)) == len(client_ids) == len({row.text for row in rows})
    assert set(found["reported"]) == set(client_ids)
    # What was pending on the disk of a client that was killed.
    assert found["kills"] >= 5
    assert found["onDisk"]
    assert set(found["onDisk"]) <= set(client_ids)


async def _delete_chats(chat: Deployment, wanted: Path) -> None:
    """Delete the chats that a test names by a file in a folder, and then the file."""

    def delete() -> None:
        for file in wanted.iterdir():
            chat.rows("DELETE FROM chats WHERE id = :id", id=file.name)
            file.unlink()

    while True:
        await asyncio.to_thread(delete)
        await asyncio.sleep(0.05)


async def _break_everything(chat: Deployment, over: Path) -> None:
    await _more_messages(chat)
    for number in (0, 1):
        chat.workers[number].kill()
        chat.start_worker()
        await _more_messages(chat)
    for edge in list(chat.edges):
        edge.kill()
        await asyncio.to_thread(chat.start_edge, port=edge.port)
        await _more_messages(chat)
    with Redis.from_url(chat.store.redis_url) as redis:
        redis.flushdb()
    await _more_messages(chat)
    await asyncio.to_thread(over.touch)


async def _more_messages(chat: Deployment) -> None:
    """Wait until some more messages are stored."""
    wanted = _count(chat) + BETWEEN_FAULTS
    while await asyncio.to_thread(_count, chat) < wanted:
        await asyncio.sleep(0.05)


def _count(chat: Deployment) -> int:
    [(count,)] = chat.rows("SELECT count(*) FROM messages")
    return int(count)
