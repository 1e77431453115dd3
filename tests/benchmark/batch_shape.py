"""Prints how much work is shared under load: `make shape`.

100 pairs of clients send at once, each as soon as its last message was acked. What counts is not the speed
but the shape: Celery tasks, SQL statements and Redis commands per message.
"""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from infra.wire import names
from tests.harness.client import Client
from tests.harness.deployment import Deployment
from tests.harness.engines import Engines

PAIRS = 100
SECONDS = 8.0


@dataclass(frozen=True)
class Counts:
    """The counters of Postgres and Redis."""

    statements: int
    tasks: int
    publications: int
    lookups: int

    @classmethod
    def read(cls, deployment: Deployment, redis: "Redis") -> "Counts":
        """Read the counters, without the cost of reading them."""
        [row] = deployment.rows(
            "SELECT coalesce(sum(calls), 0) AS calls FROM pg_stat_statements "
            "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND query NOT LIKE '%pg_stat_statements%'"
        )
        stats: Any = redis.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}
        return cls(
            statements=int(row.calls),
            tasks=calls.get("lpush", 0),
            publications=calls.get("xadd", 0),
            lookups=calls.get("zrange", 0),
        )


async def _talk(sender: Client, recipient: str, until: float) -> int:
    sent = 0
    while time.monotonic() < until:
        ack = await sender.send(recipient, f"message {sent}")
        assert ack["success"], ack
        sent += 1
    return sent


async def _run(deployment: Deployment, redis: "Redis") -> None:
    edge = deployment.edges[0]
    clients = [Client(f"user{number}") for number in range(2 * PAIRS)]
    for one in clients:
        await one.connect(edge)
    talk = [(one, clients[index ^ 1].username) for index, one in enumerate(clients)]
    await asyncio.gather(*(one.send(peer, "hello") for one, peer in talk))
    before = Counts.read(deployment, redis)
    until = time.monotonic() + SECONDS
    messages = sum(await asyncio.gather(*(_talk(one, peer, until) for one, peer in talk)))
    after = Counts.read(deployment, redis)
    for one in clients:
        await one.close()
    tasks = after.tasks - before.tasks
    print(f"{PAIRS} pairs, {messages} messages in {SECONDS:.0f} s (the clients are the bottleneck)")
    print(f"  mean batch size                 {messages / tasks:8.1f} messages a Celery task")
    for label, count in (
        ("Celery tasks (receipts included)", tasks),
        ("SQL statements, BEGIN and COMMIT too", after.statements - before.statements),
        ("presence look-ups", after.lookups - before.lookups),
        ("stream entries", after.publications - before.publications),
    ):
        print(f"  {label:38} {count:7} = {count / messages:.3f} a message")


def main() -> None:
    """Start everything, measure, stop everything."""
    with tempfile.TemporaryDirectory() as folder:
        engines = Engines(Path(folder))
        engines.start()
        deployment = Deployment(engines.new_store(), Path(folder))
        try:
            deployment.rows("CREATE EXTENSION pg_stat_statements")
            deployment.start(edges=1, workers=2)
            redis = Redis.from_url(deployment.store.redis_url)
            print(f"queue {names.QUEUE!r}, lanes as by default")
            asyncio.run(_run(deployment, redis))
            redis.close()
        finally:
            deployment.stop()
            engines.stop()


if __name__ == "__main__":
    main()
