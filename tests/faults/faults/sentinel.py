"""A Redis with a replica, which Sentinels promote."""

import asyncio
from typing import Any, Final

from tests.faults.faults.fault import fault
from tests.faults.field import Field
from tests.harness.sentinel import Server
from tests.harness.waiting import until

_PROMISE: Final = "answers by the deadline, service resumes within 10 s of the promotion"
_MORE: Final[dict[str, Any]] = {"recovery_s": 10.0, "has_sentinels": True}
_APART_S: Final = 10.0
"""How long the old primary stays away after the promotion."""
_TOGETHER_S: Final = 3.0
"""How long the chat goes on once it is back."""


@fault("Redis primary killed under Sentinel", _PROMISE, **_MORE)
async def primary_killed(field: Field) -> None:
    """Kill the primary. Later, start it again: it becomes a replica."""
    old, new = field.sentinels.servers
    old.kill()
    await _promoted(field, new)
    await asyncio.sleep(_APART_S)
    old.start()
    await asyncio.to_thread(old.wait_ready)
    await _demoted(old)


@fault("Redis primary frozen under Sentinel", _PROMISE, **_MORE)
async def primary_frozen(field: Field) -> None:
    """Freeze the primary. When it goes on, it takes itself for the primary until a Sentinel tells it."""
    old, new = field.sentinels.servers
    with field.sentinels.frozen(old):
        await _promoted(field, new)
        await asyncio.sleep(_APART_S)
    await _demoted(old)


async def _promoted(field: Field, server: Server) -> None:
    await asyncio.to_thread(field.sentinels.wait_primary, server)
    field.healed()


async def _demoted(server: Server) -> None:
    await until(lambda: asyncio.to_thread(server.is_in_step), "the old primary is a replica", 60)
    await asyncio.sleep(_TOGETHER_S)
