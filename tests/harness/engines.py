"""A Postgres and a Valkey of the tests' own, and a fresh corner of both for each deployment."""

import itertools
import socket
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from sqlalchemy import text

from infra.local.engines import Postgres, Valkey
from infra.store.engine import make_engine
from infra.store.migrate import upgrade


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Store:
    """Addresses of a database and a Redis that nothing else uses."""

    database_url: str
    """For SQLAlchemy, with its driver."""
    redis_url: str


class Engines:
    """Starts both engines once and hands out corners: a database each, and a Redis database each."""

    def __init__(self, data_dir: Path) -> None:
        self.postgres = Postgres(data_dir, free_port())
        self.valkey = Valkey(data_dir, free_port())
        self._databases = itertools.count(1)
        self._free_redis = list(range(15, 0, -1))

    def start(self) -> None:
        """Start both and wait until they answer."""
        for engine in (self.postgres, self.valkey):
            engine.prepare()
            engine.start()
        for engine in (self.postgres, self.valkey):
            engine.wait_ready()

    def stop(self) -> None:
        """Stop both."""
        self.valkey.stop()
        self.postgres.stop()

    def new_store(self, *, migrated: bool = True) -> Store:
        """Return an empty database, with our tables or not, and an empty Redis database (15 at a time)."""
        number = next(self._databases)
        admin_url = self.postgres.url.replace("postgresql://", "postgresql+psycopg://")
        admin = make_engine(admin_url)
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text(f"CREATE DATABASE chat_{number}"))
        admin.dispose()
        database_url = f"{admin_url.rpartition('/')[0]}/chat_{number}"
        if migrated:
            upgrade(database_url)
        return Store(database_url, f"{self.valkey.url.rpartition('/')[0]}/{self._free_redis.pop()}")

    def release(self, store: Store) -> None:
        """Empty the Redis database of a store that is no longer used, for the next one."""
        with Redis.from_url(store.redis_url) as redis:
            redis.flushdb()
        self._free_redis.append(int(store.redis_url.rpartition("/")[2]))
