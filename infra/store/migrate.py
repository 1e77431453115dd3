"""Upgrades a database to the newest schema with Alembic."""

from pathlib import Path
from time import sleep
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from infra.settings.store import SCHEMA
from infra.store.access import close, objects
from infra.store.engine import make_engine
from infra.store.folding import are_current, refresh_functions
from infra.store.move import find_older, move
from infra.store.supabase import link

_SCRIPTS = Path(__file__).with_name("migrations")
_LOCK_ID = 0x6262_6772
_LOCK_TIMEOUT = "2s"
_TRIES: Final = 20
_PAUSE_S: Final = 1.0
"""Pause between tries, so that others can get the locks they wait for."""


class MigrationError(Exception):
    """The database cannot be upgraded. The message is one line: what is wrong, and what to do about it."""


def upgrade(database_url: str, schema: str = SCHEMA) -> list[str]:
    """Run all pending migrations; return what an operator should know, a line each.

    All happens in one transaction, which waits only briefly for locks and is tried again if it does not get
    them. It is safe to call this again, and from several processes at once. Raises MigrationError and
    sqlalchemy.exc.SQLAlchemyError.
    """
    engine = make_engine(database_url, schema=schema, pooled=True, timeouts=False)
    try:
        for tries_left in reversed(range(_TRIES)):
            try:
                with engine.begin() as conn:
                    return _upgrade(conn, schema)
            except OperationalError as error:
                if not isinstance(error.orig, LockNotAvailable | DeadlockDetected):
                    raise
                if not tries_left:
                    raise MigrationError(
                        "the tables are in use: stop the workers, then run `bbgram migrate` again"
                    ) from error
                sleep(_PAUSE_S)
        raise AssertionError("unreachable")
    finally:
        engine.dispose()


def pending(conn: Connection, schema: str = SCHEMA) -> bool:
    """Return whether the schema lacks a migration of this release, or has functions of another one.

    Raises MigrationError.
    """
    return _revision(conn, schema) != _script().get_current_head() or not are_current(conn, schema)


def _upgrade(conn: Connection, schema: str) -> list[str]:
    conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_ID})")
    conn.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    notes = []
    before = objects(conn, schema)
    if not before:
        conn.exec_driver_sql(f'CREATE SCHEMA "{schema}"')
    # They need no table, and a migration may have to fold names by the rules of its release.
    refresh_functions(conn, schema)
    if _revision(conn, schema) is None and (older := find_older(conn, schema, _revisions())):
        move(conn, older, schema)
        _context(conn, schema).stamp(_script(), older.revision)
        notes.append(f"moved all tables from schema {older.schema} to schema {schema}")
    command.upgrade(_config(conn, schema), "head")
    close(conn, closed := objects(conn, schema) - before)
    notes += link(conn, schema)
    close(conn, objects(conn, schema) - before - closed)
    return notes


def _revision(conn: Connection, schema: str) -> str | None:
    """Return the revision of the tables in the schema, None if there are none. Raises MigrationError."""
    heads = _context(conn, schema).get_current_heads()
    if set(heads) <= _revisions():
        return heads[0] if heads else None
    raise MigrationError(
        f"schema {schema} is at revision {', '.join(heads)}, which this release does not know: "
        "use the release that made it, or a newer one"
    )


def _revisions() -> set[str]:
    return {script.revision for script in _script().walk_revisions()}


def _context(conn: Connection, schema: str) -> MigrationContext:
    return MigrationContext.configure(conn, opts={"version_table_schema": schema})


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config(conn: Connection | None = None, schema: str = SCHEMA) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes.update(connection=conn, schema=schema)
    return config
