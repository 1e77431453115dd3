"""A Postgres and a Valkey for the tests, with a fresh database in each for every deployment."""

import itertools
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from redis import Redis
from sqlalchemy import Engine, event, make_url

from infra.local.engines import Postgres, Valkey
from infra.local.engines.postgres import DATABASE
from infra.store.engine import make_engine
from infra.store.migrate import upgrade

_TEMPLATE: Final = "migrated"
"""A database with our tables and no rows. Copying it costs a tenth of running the migrations."""


def _ports() -> Iterator[int]:
    """Yield ports again and again, from a range that no other worker of pytest-xdist uses.

    The range lies below those that outgoing connections and local stacks take theirs from.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    count = 10_000 // workers
    first = 10_000 + worker % workers * count
    return itertools.cycle(sorted(range(first, first + count), key=lambda _: random.random()))


_PORTS: Final = _ports()


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable: the ports never end")


@dataclass(frozen=True)
class Store:
    """Addresses of a database and a Redis that nothing else uses."""

    database_url: str
    """For SQLAlchemy, with its driver."""
    redis_url: str
    _engines: dict[Any, Engine] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Not those of the store that this one was made from by `replace`: its address may be another."""

    def engine(self, *, by_indexes: bool = False, **options: Any) -> Engine:
        """Return the one engine with these options: to connect costs more than what most tests do then.

        `by_indexes` is for seeds: a connection plans its checks of foreign keys once, without the index if
        the table is small, and they take minutes once it is large.
        """
        key = (by_indexes, *sorted(options.items()))
        if key not in self._engines:
            url = make_url(self.database_url)
            if by_indexes:
                url = url.update_query_dict({"options": "-c enable_seqscan=off"})
            self._engines[key] = make_engine(url.render_as_string(hide_password=False), **options)
        return self._engines[key]

    def disconnect(self) -> None:
        """Close all connections of its engines. They connect again when they are used."""
        for engine in self._engines.values():
            engine.dispose()


@contextmanager
def listening(engine: Engine, name: str, listener: Callable[..., None]) -> Iterator[None]:
    """Call the listener at an event of SQLAlchemy inside the block; other tests use the engine after it."""
    event.listen(engine, name, listener)
    try:
        yield
    finally:
        event.remove(engine, name, listener)


class ForgetfulPostgres(Postgres):
    """A Postgres whose data need not survive a crash of the machine: it never waits for the disk.

    Nobody attacks its password, whose usual hashing is half of what a connection costs.
    """

    stop_signal = signal.SIGQUIT
    made_with = ("--set", "scram_iterations=1")

    def argv(self) -> list[str]:
        """Return the command line with settings that override those of the local stack."""
        settings = ("fsync=off", "full_page_writes=off", "max_wal_size=8GB")
        return [*super().argv(), *(word for setting in settings for word in ("-c", setting))]


class Engines:
    """Starts both engines once and hands out stores: a Postgres database and a Redis database each."""

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.postgres = (Postgres if durable else ForgetfulPostgres)(data_dir, free_port())
        self.valkey = Valkey(data_dir, free_port())
        self._databases = itertools.count(1)
        self._has_template = False
        self._free_redis = list(range(15, 0, -1))

    def start(self) -> None:
        """Start both and wait until they are ready."""
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
        """Return an empty Postgres database, with or without our tables, and one of 15 Redis databases."""
        name = f"chat_{next(self._databases)}"
        if not migrated:
            self._create_database(name)
        else:
            if not self._has_template:
                self._create_database(_TEMPLATE)
                upgrade(self._url_of(_TEMPLATE))
                self._has_template = True
            self._create_database(name, template=_TEMPLATE)
        return Store(self._url_of(name), f"{self.valkey.url.rpartition('/')[0]}/{self._free_redis.pop()}")

    def _create_database(self, name: str, template: str = "template1") -> None:
        admin = make_engine(self._url_of(DATABASE))
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        admin.dispose()

    def _url_of(self, database: str) -> str:
        server = self.postgres.url.replace("postgresql://", "postgresql+psycopg://").rpartition("/")[0]
        return f"{server}/{database}"

    def release(self, store: Store) -> None:
        """Empty the Redis database of a store that is no longer used, so that it can be handed out again."""
        store.disconnect()
        with Redis.from_url(store.redis_url) as redis:
            redis.flushdb()
        self._free_redis.append(int(store.redis_url.rpartition("/")[2]))
