"""A Postgres that is lost, and a synchronous standby that takes over under load.

The standby and the way to it are added under load, too: workers are replaced by ones that know the way.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import psutil
import psycopg
from sqlalchemy import make_url

from infra.local.engines.postgres import Postgres
from tests.faults.faults.fault import fault
from tests.faults.field import Field
from tests.faults.needs import PGBOUNCER
from tests.harness.pgbouncer import pgbouncer
from tests.harness.proxy import Proxy
from tests.harness.standby import Standby

_PROMISE: Final = "nothing acked is lost, answers again within 10 s of the promotion"
_NOTICED_S: Final = 5.0
"""How long it takes until somebody promotes the standby."""
_GIVEN_UP_S: Final = 9.0
"""How long workers wait for an answer of a server that is silent."""


@fault("Postgres killed, its address moves to a standby", _PROMISE, recovery_s=10.0)
async def killed(field: Field) -> None:
    """Kill the primary, let workers reach the standby while it is still read-only, then promote it."""
    primary, standby = field.engines.postgres, await _standby(field)
    proxy = await Proxy(primary.port).start()
    field.afterwards.push_async_callback(proxy.cut)
    await _lead_workers(field, _at(field, proxy.port))
    primary.kill()
    proxy.move(standby.port)
    await asyncio.sleep(_NOTICED_S)
    told = any("read-only transaction" in worker.log for worker in field.chat.workers)
    field.expect(told, "no worker has tried to write to the standby")
    await _promote(field, standby)


@fault("Postgres frozen, its address moves to a standby", _PROMISE, recovery_s=10.0)
async def frozen(field: Field) -> None:
    """Freeze the primary, promote the standby, and let the primary go on without knowing of it.

    What the former primary shows then is what both servers have.
    """
    primary, standby = field.engines.postgres, await _standby(field)
    former = field.chat.store.database_url
    proxy = await Proxy(primary.port).start()
    field.afterwards.push_async_callback(proxy.cut)
    await _lead_workers(field, _at(field, proxy.port))
    with _frozen(primary):
        await asyncio.sleep(_NOTICED_S)
        await _promote(field, standby)
        proxy.move(standby.port)
        await asyncio.sleep(_GIVEN_UP_S)
    await asyncio.sleep(_NOTICED_S)
    with psycopg.connect(primary.url, autocommit=True) as conn:
        stuck = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        ((count,),) = conn.execute(stuck)
    field.notes.append(f"{count} commits waited for the standby on the former primary")
    _compare(field, former)
    primary.kill()


@fault("Postgres frozen, workers know both servers", _PROMISE, recovery_s=10.0)
async def frozen_of_two(field: Field) -> None:
    """Freeze the primary, promote the standby, and end the primary later."""
    primary, standby = field.engines.postgres, await _standby(field)
    await _lead_workers(field, _at(field, f"{primary.port},127.0.0.1:{standby.port}"))
    with _frozen(primary):
        await asyncio.sleep(_GIVEN_UP_S)
        await _promote(field, standby)
        await asyncio.sleep(_NOTICED_S)
        primary.kill()


@fault(
    "Postgres killed behind PgBouncer",
    _PROMISE,
    recovery_s=10.0,
    needs=(PGBOUNCER,),
)
async def killed_behind_pooler(field: Field) -> None:
    """Kill the primary and have the pooler reload its configuration, which names the standby then."""
    primary, standby = field.engines.postgres, await _standby(field)
    folder = field.engines.postgres.folder.parent / "pooler"
    pooler = field.afterwards.enter_context(pgbouncer(field.chat.store.database_url, folder))
    await _lead_workers(field, pooler.address, BBGRAM_DATABASE_POOLED="true")
    primary.kill()
    await asyncio.sleep(_NOTICED_S)
    await _promote(field, standby)
    pooler.move(field.chat.store.database_url)


async def _standby(field: Field) -> Standby:
    """Add a standby that every commit waits for."""
    primary = field.engines.postgres
    standby = Standby(primary.folder.parent, primary)
    field.afterwards.callback(standby.stop)
    field.afterwards.callback(primary.kill)
    await asyncio.to_thread(standby.prepare)
    standby.start()
    await asyncio.to_thread(standby.wait_ready)
    await asyncio.to_thread(standby.make_synchronous)
    return standby


async def _promote(field: Field, standby: Standby) -> None:
    """Make the standby the server that counts."""
    await asyncio.to_thread(standby.promote)
    field.healed()
    field.engines.postgres = standby
    field.chat.store = replace(field.chat.store, database_url=_at(field, standby.port))


async def _lead_workers(field: Field, database_url: str, **settings: str) -> None:
    """Replace all workers by ones that use this address."""
    for worker in list(field.chat.workers):
        await field.replace_worker(worker, {"BBGRAM_DATABASE_URL": database_url, **settings})


def _at(field: Field, port: int | str) -> str:
    """Return the address of the database, with another port."""
    url = make_url(field.chat.store.database_url)
    return url.render_as_string(hide_password=False).replace(f":{url.port}/", f":{port}/")


def _compare(field: Field, former_url: str) -> None:
    """Compare each message on the former primary with the same change of it on the server that counts."""
    former = {row.id: row for row in field.read_messages(former_url)}
    now = {row.id: row for row in field.read_messages()}
    lost = former.keys() - now.keys()
    field.expect(not lost, f"{len(lost)} messages are on the former primary only")
    ahead = [id for id in former.keys() & now.keys() if former[id].change > now[id].change]
    field.expect(not ahead, f"{len(ahead)} messages have later changes on the former primary")
    same = [id for id in former.keys() & now.keys() if former[id].change == now[id].change]
    differing = [id for id in same if former[id] != now[id]]
    field.expect(not differing, f"{len(differing)} messages differ between the two servers")
    field.notes.append(f"{len(same)} messages are the same on both servers")


@contextmanager
def _frozen(server: Postgres) -> Iterator[None]:
    """Freeze a server with all its processes: connections stay open, and new ones get no answer."""
    assert server.pid is not None
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            if process.is_running():
                process.send_signal(signal.SIGCONT)
