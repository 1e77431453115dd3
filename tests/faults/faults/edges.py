"""Edges that are killed, and a rolling restart of edges and workers."""

import asyncio
import signal
import time
from collections import Counter
from contextlib import ExitStack, suppress

from tests.faults import told
from tests.faults.faults.fault import fault, point
from tests.faults.field import Field
from tests.faults.wanted import Try
from tests.harness.deployment import Edge
from tests.harness.waiting import until

_TRANSACTIONS = """
SELECT FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    AND backend_type = 'client backend'
"""


@fault("edge killed", "clients resume on the other edge", recovery_s=5.0, settings=told.SETTINGS)
async def killed(field: Field) -> None:
    """Kill one of the edges, and start it again after the clients have moved."""
    edge = field.chat.edges[0]
    edge.kill()
    field.healed()
    await until(
        lambda: all(client.is_connected and client.url != edge.url for client in field.clients),
        "all clients are on the other edge",
    )
    await field.restart_edge(edge)


@fault(
    "rolling restart under load",
    "SIGTERM drains: every accepted request is answered",
    # No batch is sent a second time: if a worker drops one, its requests get `timeout`.
    settings={"redispatch_s": 9.99},
)
async def rolling_restart(field: Field) -> None:
    """Replace all workers and all edges, one after another."""
    began_at = time.monotonic()
    await _stop_worker_in_a_batch(field)
    await field.replace_workers()
    taken = []
    for edge in list(field.chat.edges):
        taken += await _stop_edge_with_requests(field, edge)
        await field.restart_edge(edge)
    field.healed()
    codes = Counter(one.code for one in field.records.tries() if one.sent_at >= began_at)
    # The latter during a block, and to a reaction to what has just been unsent.
    answers = {"ok", "not_allowed"}
    lost = Counter(one.code for one in taken if one.code not in answers)
    field.notes.append(
        f"{len(taken)} requests were inside when an edge got SIGTERM, {codes['cut']} came after"
    )
    field.expect(not lost, f"requests were taken and not answered: {lost}")
    # What an edge had taken is checked above. Others may be refused for a lock, and are sent again.
    field.expect(codes.keys() <= {*answers, "cut", "unavailable", None}, f"requests failed: {codes}")


async def _stop_worker_in_a_batch(field: Field) -> None:
    """Ask one more worker to stop while it holds a batch that is committed and not published."""
    worker = field.start_worker(point("stopping"))
    await until(lambda: "a batch is held" in worker.log, "the worker holds a batch", timeout_s=30)
    await asyncio.to_thread(worker.stop)
    field.chat.workers.remove(worker)
    field.expect(worker.process.returncode == 0, f"the worker ended with {worker.process.returncode}")


async def _stop_edge_with_requests(field: Field, edge: Edge) -> list[Try]:
    """Ask an edge to stop while workers stand still; return what it had taken and not answered."""
    clients = [client for client in field.clients if client.is_connected and client.url == edge.url]
    with await _workers_paused(field):
        async with asyncio.timeout(5):
            taken = await asyncio.gather(*(client.taken() for client in clients))
            edge.process.send_signal(signal.SIGTERM)
            await until(lambda: _refuses(edge), "the edge accepts no more connections")
    await asyncio.to_thread(edge.stop)
    return [one for some in taken for one in some]


async def _workers_paused(field: Field) -> ExitStack:
    """Have all workers stand still, but none in a transaction: others would be refused for its locks."""
    with field.admin() as conn:
        while True:
            with ExitStack() as paused:
                for worker in field.chat.workers:
                    paused.enter_context(worker.paused())
                with suppress(TimeoutError):
                    await until(lambda: not conn.execute(_TRANSACTIONS).fetchall(), "no transaction", 0.2)
                    return paused.pop_all()
            await asyncio.sleep(0.01)


async def _refuses(edge: Edge) -> bool:
    """Tell whether an edge accepts no more connections."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False
