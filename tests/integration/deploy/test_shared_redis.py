"""Several deployments share a database of one Redis: each has a prefix, and sees nothing of the others.

Each has a user of Redis that may touch no other keys.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.redis_client import make_redis
from infra.wire import names
from tests.conftest import ClientFactory, Name
from tests.harness.deployment import Deployment
from tests.harness.engines import Engines
from tests.harness.forks import run
from tests.harness.waiting import eventually

PREFIXES = ("red:", "blue:")


@pytest.fixture
async def neighbours(engines: Engines, tmp_path: Path) -> AsyncIterator[list[Deployment]]:
    stores = [engines.new_store() for _ in PREFIXES]
    server = urlsplit(stores[0].redis_url)
    chats = []
    for number, (prefix, store) in enumerate(zip(PREFIXES, stores, strict=True)):
        folder = tmp_path / str(number)
        folder.mkdir()
        user = prefix.removesuffix(":")
        with make_redis(stores[0].redis_url, 5) as redis:
            redis.acl_setuser(
                user,
                enabled=True,
                passwords="+of-all",
                keys=[f"{prefix}*"],
                channels=["*"],
                categories=["+@all"],
            )
        address = f"redis://{user}:of-all@127.0.0.1:{server.port}{server.path}"
        shared = replace(store, redis_url=address)
        chats.append(Deployment(shared, folder, forked=True, redis_prefix=prefix, sweep_s=0.5))
        chats[-1].start_functions()
        await asyncio.to_thread(chats[-1].start)
    yield chats
    for chat, store in zip(chats, stores, strict=True):
        await asyncio.to_thread(chat.stop)
        engines.release(store)


def both_workers_answer(chat: Deployment) -> bool:
    return report(chat, "doctor").count("1 worker answers") == 2


def is_well(chat: Deployment) -> bool:
    return "All is well" in report(chat, "status")


def report(chat: Deployment, command: str) -> str:
    return run((command,), chat.env, timeout_s=60).stdout


async def test_neighbours_see_nothing_of_each_other(
    neighbours: list[Deployment], client: ClientFactory, name: Name
) -> None:
    red, blue = neighbours
    alices = [await client(name("alice")).connect(chat.edges[0]) for chat in neighbours]
    bobs = [await client(name("bob")).connect(chat.edges[0]) for chat in neighbours]
    for number, text in enumerate(("to red", "to blue")):
        assert (await alices[number].send(bobs[number].username, text))["success"]
        assert (await bobs[number].expect("new_message"))["text"] == text
    assert [chat.rows("SELECT text FROM messages") for chat in neighbours] == [[("to red",)], [("to blue",)]]
    for chat in neighbours:
        # As a function of Celery, too: its queue has acknowledgements.
        await asyncio.to_thread(chat.run, "run", "offline_delivery")
        await asyncio.to_thread(eventually, partial(is_well, chat), "all is well")
        told = report(chat, "status")
        for line in ("Edges: 1", "Workers: 1", "Functions workers: 1", "Beat: 1"):
            assert line in told.splitlines(), told
        # These are asked, and answer, on channels; a busy one may answer too late.
        await asyncio.to_thread(
            eventually, partial(both_workers_answer, chat), "the doctor hears both workers"
        )
    await asyncio.to_thread(blue.workers[0].stop)
    assert "Workers: none" in report(blue, "status")
    assert "Workers: 1" in report(red, "status")
    with make_redis(red.store.redis_url, 5) as redis:
        keys = [key.decode() for key in redis.scan_iter()]
    assert [key for key in keys if not key.startswith(PREFIXES)] == []
    for prefix in PREFIXES:
        assert {prefix + names.LEASES_KEY, prefix + names.PROCESSES_KEY, prefix + names.SWEPT_KEY} <= {*keys}
