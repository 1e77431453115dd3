"""An engine that is gone for a while."""

import asyncio
from typing import Final

from infra.local.engines.engine import Engine
from tests.faults.field import Field

OUTAGE_S: Final = 12.0
"""Longer than the deadline of a request."""


async def kill_and_start(field: Field, engine: Engine) -> None:
    """Kill an engine and start it again after the outage."""
    engine.kill()
    await asyncio.sleep(OUTAGE_S)
    engine.start()
    await asyncio.to_thread(engine.wait_ready)
    field.healed()
