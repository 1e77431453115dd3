"""Alembic's migrations and the models describe the same tables."""

import uuid
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect

from infra.store.engine import make_engine
from infra.store.migrate import _config, pending, upgrade
from infra.store.models import Base
from tests.harness.engines import Engines


@pytest.fixture
def database(engines: Engines) -> Iterator[Engine]:
    """Make an empty database."""
    admin_url = engines.postgres.url.replace("postgresql://", "postgresql+psycopg://")
    name = f"migrations_{uuid.uuid4().hex}"
    admin = make_engine(admin_url)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    engine = make_engine(f"{admin_url.rpartition('/')[0]}/{name}")
    yield engine
    engine.dispose()


def migrate(database: Engine) -> None:
    upgrade(database.url.render_as_string(hide_password=False))


def tables(database: Engine) -> set[str]:
    return set(inspect(database).get_table_names()) - {"alembic_version"}


def test_migrations_make_exactly_the_tables_of_the_models(database: Engine) -> None:
    migrate(database)
    with database.connect() as conn:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_migrations_make_exactly_the_constraints_of_the_models(database: Engine) -> None:
    migrate(database)
    made = {
        (table, check["name"])
        for table in tables(database)
        for check in inspect(database).get_check_constraints(table)
    }
    assert made == {("chats", "chats_pair_ordered")}


def test_migrations_make_exactly_the_indexes_of_the_models(database: Engine) -> None:
    migrate(database)
    made = {
        index["name"]
        for table in tables(database)
        for index in inspect(database).get_indexes(table)
        if "duplicates_constraint" not in index
    }
    assert made == {index.name for table in Base.metadata.tables.values() for index in table.indexes}


def test_upgrading_twice_changes_nothing(database: Engine) -> None:
    migrate(database)
    before = tables(database)
    migrate(database)
    assert tables(database) == before == set(Base.metadata.tables)


def test_downgrading_removes_everything_and_upgrading_brings_it_back(database: Engine) -> None:
    migrate(database)
    with database.begin() as conn:
        command.downgrade(_config(conn), "base")
    assert tables(database) == set()
    migrate(database)
    assert tables(database) == set(Base.metadata.tables)


def test_a_database_without_the_newest_migration_is_noticed(database: Engine) -> None:
    with database.connect() as conn:
        assert pending(conn)
    migrate(database)
    with database.connect() as conn:
        assert not pending(conn)
