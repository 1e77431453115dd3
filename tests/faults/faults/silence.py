"""Connections that die without a word: their packets are dropped, and nobody is told. New ones work."""

import asyncio
from typing import Any, Final

from tests.faults.faults.fault import fault
from tests.faults.field import Field
from tests.faults.needs import IPTABLES
from tests.faults.network import Connections, dropped
from tests.harness.deployment import Part

_PROMISE: Final = "no false ack, stored again within 15 s"
_MORE: Final[dict[str, Any]] = {"recovery_s": 15.0, "needs": (IPTABLES,)}
_SILENT_S: Final = 25.0
"""How long packets are dropped: longer than the recovery may take."""


@fault("nothing reaches Postgres on the workers' connections", _PROMISE, **_MORE)
async def nothing_to_postgres(field: Field) -> None:
    """Drop what the workers send to Postgres."""
    await _silence(field, field.chat.workers, field.engines.postgres.port, to_server=True)
    _expect_warning(field, field.chat.workers, '"error": "Postgres: ')


@fault("nothing comes from Postgres on the workers' connections", _PROMISE, **_MORE)
async def nothing_from_postgres(field: Field) -> None:
    """Drop what Postgres sends to the workers."""
    await _silence(field, field.chat.workers, field.engines.postgres.port, to_server=False)
    _expect_warning(field, field.chat.workers, '"error": "Postgres: ')


@fault("nothing reaches Redis on open connections", _PROMISE, **_MORE)
async def nothing_to_redis(field: Field) -> None:
    """Drop what edges, workers and beat send to Redis."""
    await _silence(field, _all(field), field.engines.valkey.port, to_server=True)


@fault("nothing comes from Redis on open connections", _PROMISE, **_MORE)
async def nothing_from_redis(field: Field) -> None:
    """Drop what Redis sends to edges, workers and beat."""
    await _silence(field, _all(field), field.engines.valkey.port, to_server=False)


def _all(field: Field) -> list[Part]:
    return [*field.chat.edges, *field.chat.workers, *field.chat.beats]


async def _silence(field: Field, parts: list[Part], port: int, *, to_server: bool) -> None:
    connections = Connections.of((part.process.pid for part in parts), port)
    field.expect(len(connections.ports) >= len(parts), f"only {len(connections.ports)} connections were open")
    with dropped(connections, to_server=to_server):
        field.healed()
        await asyncio.sleep(_SILENT_S)


def _expect_warning(field: Field, parts: list[Part], text: str) -> None:
    field.expect(any(text in part.log for part in parts), f"no log has {text}")
