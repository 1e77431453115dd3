"""A migration that has to wait for a table lets sends through meanwhile, and is whole or not there at all."""

import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from sqlalchemy import Connection, Engine

from infra.settings.store import SCHEMA
from infra.store import migrate
from infra.store.engine import make_engine
from infra.store.migrate import MigrationError, _try_upgrade, upgrade
from tests.harness.engines import Engines
from tests.migrations.rows import add_rows, make_database, revisions, users_of
from tests.migrations.sends import send

MESSAGES = 2_000
USERS = users_of(MESSAGES)
TABLES = f"SELECT tablename FROM pg_tables WHERE schemaname = '{SCHEMA}' AND tablename <> 'alembic_version'"
STEPS = revisions()


@pytest.fixture
def engine(engines: Engines) -> Iterator[Engine]:
    store = engines.new_store(migrated=False)
    engine = make_engine(store.database_url, timeouts=False, pool_size=4)
    yield engine
    engine.dispose()
    engines.release(store)


def installed(engine: Engine, revision: str) -> None:
    """Make an installation of that revision, with users and messages."""
    make_database(engine, STEPS[0])
    add_rows(engine, MESSAGES)
    while revision_of(engine) != revision:
        _try_upgrade(engine, SCHEMA)


def revision_of(engine: Engine) -> str:
    with engine.connect() as conn:
        return str(conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def write_everywhere(conn: Connection) -> None:
    """Hold what an open transaction holds that has written to every table."""
    tables = conn.exec_driver_sql(TABLES).scalars().all()
    conn.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN ROW EXCLUSIVE MODE")


@pytest.mark.parametrize(("before", "after"), list(pairwise(STEPS)))
def test_users_send_while_a_migration_waits_for_its_locks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    installed(engine, before)
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrate, "_PAUSE_S", 0.05)
    monkeypatch.setattr(migrate, "_TRIES", 10_000)
    tries = threading.Semaphore(0)
    pause = threading.Event()

    def sleep(seconds: float) -> None:
        tries.release()
        pause.wait(seconds)

    monkeypatch.setattr(migrate, "sleep", sleep)
    migration = threading.Thread(target=_try_upgrade, args=(engine, SCHEMA))
    with engine.connect() as writer, engine.connect() as conn:
        write_everywhere(writer)
        migration.start()
        for sender in range(1, 4):
            # One that changes no table that was there does not wait.
            while migration.is_alive() and not tries.acquire(timeout=0.05):
                pass
            send(conn, sender, USERS)
            conn.commit()
        assert revision_of(engine) == (before if migration.is_alive() else after)
        writer.rollback()
        migration.join(60)
        assert revision_of(engine) == after
        send(conn, 1, USERS)
        conn.commit()


def test_migrations_before_one_that_gets_no_lock_stay_and_the_next_try_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that are left, 0009 is the first that changes messages."""
    installed(engine, "0005")
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrate, "_PAUSE_S", 0)
    monkeypatch.setattr(migrate, "_TRIES", 3)
    url = engine.url.render_as_string(hide_password=False)
    with engine.connect() as writer:
        writer.exec_driver_sql("LOCK TABLE messages IN ROW EXCLUSIVE MODE")
        with pytest.raises(MigrationError, match=r"^the tables are in use: "):
            upgrade(url)
        assert revision_of(engine) == "0008"
        writer.rollback()
    assert upgrade(url) == []
    assert revision_of(engine) == STEPS[-1]
