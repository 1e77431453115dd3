"""A Postgres that is down, loses its connections or its disk, or holds a lock for long."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import psycopg

from tests.faults.clients import FaultClient
from tests.faults.faults.fault import fault
from tests.faults.faults.outage import OUTAGE_S, kill_and_start
from tests.faults.field import Field
from tests.faults.needs import MOUNT
from tests.harness.waiting import until

_PROMISE: Final = "no false ack, the backlog drains"
_CLIENTS: Final = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
_PACE_S: Final = 5.0
"""How long the pace of chats is measured before one of them is locked."""
_LOCKED_S: Final = 30.0


@fault("Postgres killed and started again", _PROMISE, recovery_s=10.0)
async def killed(field: Field) -> None:
    """Kill Postgres for the length of an outage."""
    await kill_and_start(field, field.engines.postgres)


@fault("all connections to Postgres cut", _PROMISE, recovery_s=10.0)
async def connections_cut(field: Field) -> None:
    """Terminate every client's connection, eight times."""
    for _ in range(8):
        with field.admin() as conn:
            cut = {pid for pid, _ in conn.execute(f"SELECT pid, pg_terminate_backend(pid) {_CLIENTS}")}
            field.healed()
            await until(
                lambda: bool({pid for (pid,) in conn.execute(f"SELECT pid {_CLIENTS}")} - cut),  # noqa: B023
                "connections are opened again",
            )


@fault("disk of Postgres full", _PROMISE, recovery_s=10.0, needs_disk=True, needs=(MOUNT,))
async def disk_full(field: Field) -> None:
    """Fill the disk to the last byte, and restart Postgres if that has stopped it."""
    field.disk.fill()
    try:
        with suppress(psycopg.OperationalError), field.admin() as conn:
            conn.execute("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
            field.expect(False, "Postgres could write")
        await asyncio.sleep(OUTAGE_S)
    finally:
        field.disk.clear()
    postgres = field.engines.postgres
    if postgres.pid is None or not postgres.is_ready():
        field.notes.append("Postgres had stopped")
        postgres.kill()
        postgres.prepare()
        postgres.start()
        await asyncio.to_thread(postgres.wait_ready)
    field.healed()


@fault("a chat locked for 30 s", "all other chats continue, together at no less than a quarter of their pace")
async def chat_locked(field: Field) -> None:
    """Lock the row of one chat, as a forgotten transaction does."""
    held, pairs = field.clients[0], list(zip(field.clients[2::2], field.clients[3::2], strict=True))
    before = sum(await _acks_within(field, pairs, _PACE_S)) / _PACE_S
    with field.admin() as conn, conn.transaction():
        conn.execute("SELECT 1 FROM chats WHERE %s IN (user_lo, user_hi) FOR UPDATE", (held.user_id,))
        acks = await _acks_within(field, pairs, _LOCKED_S)
    field.healed()
    share = sum(acks) / _LOCKED_S / before
    field.notes.append(
        f"other chats kept {share:.0%} of {before:.0f} messages/s, the slowest had {min(acks)} acks"
    )
    field.expect(min(acks) > 0, "a chat stood still")
    field.expect(share >= 0.25, "other chats kept less than a quarter of their pace")


async def _acks_within(field: Field, pairs: Sequence[Sequence[FaultClient]], seconds: float) -> list[int]:
    """Return how many messages of each pair are acked in that time."""
    before = [field.acked_of(pair) for pair in pairs]
    await asyncio.sleep(seconds)
    return [field.acked_of(pair) - acks for pair, acks in zip(pairs, before, strict=True)]
