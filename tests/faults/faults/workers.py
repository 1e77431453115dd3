"""Workers that are killed: at points of their own code, and at random."""

import asyncio
import random
from typing import Final

from tests.faults import told
from tests.faults.faults.fault import fault, point
from tests.faults.field import Field, supervised
from tests.harness.waiting import until

_KILLED: Final = "nothing acked is lost or duplicated, nobody waits past the deadline"
_BEFORE_COMMIT: Final = point("before_commit", BBGRAM_DATABASE_POOLED="true")
_AFTER_COMMIT: Final = point("after_commit")
_AFTER_PUBLICATION: Final = point("after_publication")


@fault("worker killed before commit", _KILLED, worker=_BEFORE_COMMIT, at_once=True)
async def killed_before_commit(field: Field) -> None:
    """Kill workers with a transaction open."""
    await _let_points_strike(field, _BEFORE_COMMIT)


@fault("worker killed after commit", _KILLED, worker=_AFTER_COMMIT, at_once=True, settings=told.SETTINGS)
async def killed_after_commit(field: Field) -> None:
    """Kill workers that have stored messages and told nobody."""
    await _let_points_strike(field, _AFTER_COMMIT)


@fault("worker killed after publication", _KILLED, worker=_AFTER_PUBLICATION, at_once=True)
async def killed_after_publication(field: Field) -> None:
    """Kill workers that have told everybody and not finished the task."""
    await _let_points_strike(field, _AFTER_PUBLICATION)


async def _let_points_strike(field: Field, struck: dict[str, str]) -> None:
    """Replace workers that have killed themselves with more of the kind, six times, then with sound ones."""
    again = [{**struck, "FAULT_AFTER": str(after)} for after in (15, 40, 25, 60)]
    async with supervised(field, again):
        await until(lambda: field.kills >= 6, "six workers have killed themselves", timeout_s=120)
    field.notes.append(f"{field.kills} kills")
    field.healed()


@fault("workers killed at random", _KILLED)
async def killed_at_random(field: Field) -> None:
    """Kill workers at arbitrary moments."""
    chance = random.Random(5)
    async with supervised(field, []):
        for _ in range(6):
            # Not an event but an arbitrary moment.
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            chance.choice(field.chat.workers).kill()
        await until(
            lambda: all(worker.process.poll() is None for worker in field.chat.workers),
            "the killed workers are replaced",
        )
    field.expect(field.kills >= 5, "fewer than five kills")
    field.notes.append(f"{field.kills} kills")
    field.healed()
