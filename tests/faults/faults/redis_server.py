"""A Redis that is down, empty, frozen, full, read-only or put back to an earlier state."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Final

from redis import OutOfMemoryError, ReadOnlyError, Redis, RedisError

from infra.wire import names
from tests.faults import told
from tests.faults.faults.fault import fault
from tests.faults.faults.outage import OUTAGE_S, kill_and_start
from tests.faults.field import Field
from tests.harness.engines import free_port

_PROMISE: Final = "answers by the deadline, service resumes within 10 s of Redis"
_FROZEN_S: Final = 60.0
_LOST_S: Final = 1.0


@fault("Redis killed and started again", _PROMISE, recovery_s=10.0)
async def killed(field: Field) -> None:
    """Kill Redis for the length of an outage."""
    await kill_and_start(field, field.engines.valkey)


@fault("Redis flushed", _PROMISE, recovery_s=10.0)
async def flushed(field: Field) -> None:
    """Delete everything in Redis, three times."""
    with field.redis as redis:
        for _ in range(3):
            redis.flushall()
            field.healed()
            # Clients go on meanwhile, so that each flush hits a running chat.
            await asyncio.sleep(2)


@fault("Redis stopped for 60 s", _PROMISE, recovery_s=10.0)
async def frozen(field: Field) -> None:
    """Freeze Redis: connections stay open and nothing is answered."""
    pid = field.engines.valkey.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(_FROZEN_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    field.healed()


@fault("Redis is full", _PROMISE, recovery_s=10.0)
async def full(field: Field) -> None:
    """Leave Redis no memory to write anything."""
    with field.redis as redis:
        redis.config_set("maxmemory", 1)
        _expect_refusal(field, redis, OutOfMemoryError)
        await asyncio.sleep(OUTAGE_S)
        redis.config_set("maxmemory", 0)
    field.healed()


@fault("Redis is a read-only replica", _PROMISE, recovery_s=10.0)
async def read_only(field: Field) -> None:
    """Make Redis a replica of a server that does not exist, as after a failover gone wrong."""
    with field.redis as redis:
        redis.replicaof("127.0.0.1", str(free_port()))
        _expect_refusal(field, redis, ReadOnlyError)
        await asyncio.sleep(OUTAGE_S)
        redis.replicaof("NO", "ONE")
    field.healed()


@fault("Redis loses its last second", _PROMISE, recovery_s=10.0, settings=told.SETTINGS)
async def rolled_back(field: Field) -> None:
    """Kill Redis, three times, and start it with the data of a second before, as after a loss of power."""
    valkey = field.engines.valkey
    for _ in range(3):
        copy = valkey.folder.with_name("before")
        await asyncio.to_thread(_copy_data, field, valkey.folder, copy)
        await asyncio.sleep(_LOST_S)
        valkey.kill()
        shutil.rmtree(valkey.folder)
        copy.rename(valkey.folder)
        valkey.start()
        await asyncio.to_thread(valkey.wait_ready)
        field.healed()
        # Clients go on meanwhile, so that each time hits a running chat.
        await asyncio.sleep(2)


def _copy_data(field: Field, folder: Path, copy: Path) -> None:
    """Copy what Redis has on disk. The copy may end in half a command, as a disk without power does."""
    shutil.copytree(folder, copy)
    with field.redis as redis:
        field.expect(bool(redis.keys(names.inbox_key("*"))), "no edge has an inbox")


def _expect_refusal(field: Field, redis: Redis, error: type[RedisError]) -> None:
    try:
        redis.set("faults:probe", "x")
    except error:
        return
    field.expect(False, "Redis took a write")
