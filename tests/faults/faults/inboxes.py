"""The inboxes of the edges: their connections cut, their streams deleted."""

import asyncio
from typing import Final

from redis import Redis

from infra.wire import names
from tests.faults.faults.fault import fault
from tests.faults.field import Field
from tests.harness.waiting import until

_PROMISE: Final = "delivered within 15 s"


@fault("inbox connections cut", _PROMISE)
async def connections_cut(field: Field) -> None:
    """Cut the connections on which edges wait for their inboxes, five times."""
    killed = 0
    with field.redis as redis:
        for _ in range(5):
            cut = _waiting(redis)
            for client_id in cut:
                killed += redis.client_kill_filter(_id=client_id)
            field.healed()
            await until(
                lambda cut=cut: len(_waiting(redis) - cut) >= len(field.chat.edges),  # type: ignore[misc]
                "the edges wait for their inboxes again",
            )
    field.expect(killed >= 5, f"only {killed} connections were cut")


def _waiting(redis: Redis) -> set[str]:
    """Return the ids of the connections on which edges wait for their inboxes."""
    return {client["id"] for client in redis.client_list() if client["cmd"] == "xread"}


@fault("inbox streams deleted", _PROMISE)
async def deleted(field: Field) -> None:
    """Delete the inboxes of all edges, three times."""
    with field.redis as redis:
        for _ in range(3):
            await until(
                lambda: len(redis.keys(names.inbox_key("*"))) >= len(field.chat.edges),
                "every edge has an inbox",
                timeout_s=15,
            )
            redis.delete(*redis.keys(names.inbox_key("*")))
            field.healed()
            # Time itself matters here: clients go on meanwhile, so that each deletion hits a running chat.
            await asyncio.sleep(2)
