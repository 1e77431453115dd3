"""The inboxes of the edges: their connections cut, their streams deleted."""

import asyncio
from typing import Final

from infra.wire import names
from tests.faults.faults.fault import fault
from tests.faults.field import Field

_PROMISE: Final = "delivered within 15 s"


@fault("inbox connections cut", _PROMISE)
async def connections_cut(field: Field) -> None:
    """Cut the connections on which edges wait for their inboxes, five times."""
    killed = 0
    with field.redis as redis:
        for _ in range(5):
            for client in redis.client_list():
                if client["cmd"] == "xread":
                    killed += redis.client_kill_filter(_id=client["id"])
            field.healed()
            # Long enough for the edges to wait for their inboxes again.
            await asyncio.sleep(0.7)
    field.expect(killed >= 5, f"only {killed} connections were cut")


@fault("inbox streams deleted", _PROMISE)
async def deleted(field: Field) -> None:
    """Delete the inboxes of all edges, three times."""
    with field.redis as redis:
        for _ in range(3):
            async with asyncio.timeout(15):
                while len(inboxes := redis.keys(names.inbox_key("*"))) < len(field.chat.edges):
                    await asyncio.sleep(0.1)
            redis.delete(*inboxes)
            field.healed()
            # Clients go on meanwhile, so that each deletion hits a running chat.
            await asyncio.sleep(2)
