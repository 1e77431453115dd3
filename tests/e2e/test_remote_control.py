"""A worker that always has something to do still answers those who ask Celery which workers there are."""

import asyncio

from infra.cli.doctor.processes import process_findings
from infra.settings.worker import WorkerSettings
from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import with_profile


async def test_the_doctor_finds_a_worker_that_handles_one_batch_after_the_other(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy().start()
    bob = with_profile(chat, name("bob"))
    senders = [await client(name(f"alice{number}")).connect(chat.edges[0]) for number in range(3)]
    over = asyncio.Event()

    async def keep_busy(sender: Client) -> None:
        while not over.is_set():
            assert (await sender.send(bob, "hello"))["success"]

    busy = [asyncio.create_task(keep_busy(sender)) for sender in senders]
    settings = WorkerSettings.load(
        None,
        redis_url=chat.store.redis_url,
        database_url=chat.store.database_url,
        beat_functions=False,
    )
    for _ in range(5):
        findings = await asyncio.to_thread(lambda: list(process_findings(settings)))
        assert {one.subject: one.state for one in findings}["workers"] == "1 worker answers"
    over.set()
    await asyncio.gather(*busy)
