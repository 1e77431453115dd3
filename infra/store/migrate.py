"""Upgrades a database to the newest schema with Alembic."""

from pathlib import Path
from time import sleep
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import DeadlockDetected, InsufficientPrivilege, LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from infra.settings.store import SCHEMA
from infra.store.access import close, objects
from infra.store.engine import make_engine
from infra.store.folding import are_current, refresh_functions, unicode_parts
from infra.store.move import SHARED, find_older, move, older_revision
from infra.store.supabase import link

_SCRIPTS = Path(__file__).with_name("migrations")
_LOCK_ID = 0x6262_6772
_LOCK_TIMEOUT = "2s"
_TRIES: Final = 20
_PAUSE_S: Final = 1.0
"""Pause between tries, so that others can get the locks they wait for."""

_NO_LIMITS = text(
    """
    SELECT set_config(name, '0', true) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
    """
)
_OWNERS = text(
    """
    SELECT current_user AS us,
        (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = :schema) AS of_schema,
        (
            SELECT pg_get_userbyid(relowner) FROM pg_class
            WHERE relname = 'profiles' AND relnamespace = to_regnamespace(quote_ident(:place))
        ) AS of_tables
    """
)


class MigrationError(Exception):
    """The database cannot be upgraded. The message is one line: what is wrong, and what to do about it."""


def upgrade(database_url: str, schema: str = SCHEMA) -> list[str]:
    """Run all pending migrations; return what an operator should know, a line each.

    All happens in one transaction, which waits only briefly for locks and is tried again if it does not get
    them. It runs as the owner of the tables, whoever connects. It is safe to call this again, and from
    several processes at once. Raises MigrationError and sqlalchemy.exc.SQLAlchemyError.
    """
    unicode_parts()  # takes a moment, and is kept: not while others wait for our locks
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
    conn.execute(_NO_LIMITS)
    conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_ID})")
    conn.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    notes = []
    place = find_older(conn, schema)
    us = _become_owner(conn, schema, place or schema)
    revision = _revision(conn, schema)
    # Older releases closed nothing, and nor has whoever made the schema beforehand.
    closed = set() if revision in (None, *SHARED) else objects(conn, schema)
    # They need no table, and a migration may have to fold names by the rules of its release.
    refresh_functions(conn, schema)
    if place and (older := older_revision(conn, place)):
        move(conn, place, older, schema)
        _context(conn, schema).stamp(_script(), older)
        notes.append(f"moved all tables from schema {place} to schema {schema}")
    command.upgrade(_config(conn, schema), "head")
    close(conn, objects(conn, schema) - closed)
    # The owner may lack rights on `auth.users` that whoever connects has.
    _become(conn, us)
    return notes + link(conn, schema)


def _become_owner(conn: Connection, schema: str, place: str) -> str:
    """Become the owner of the tables in `place`, or else of the schema, which is made if there is none.

    Workers connect as this role. Returns the role that connected. Raises MigrationError.
    """
    owners = conn.execute(_OWNERS, {"schema": schema, "place": place}).one()
    us = str(owners.us)
    owner = owners.of_tables or owners.of_schema or us
    if place != schema and owners.of_schema not in (None, owner):
        raise MigrationError(
            f"schema {schema} belongs to role {owners.of_schema}, and the tables to move to role {owner}: "
            f"run `ALTER SCHEMA {schema} OWNER TO {_quoted(owner)}`, then `bbgram migrate` again"
        )
    try:
        if owners.of_schema is None:
            conn.exec_driver_sql(f'CREATE SCHEMA "{schema}" AUTHORIZATION {_quoted(owner)}')
        _become(conn, owner)
    except ProgrammingError as error:
        # Without CREATE on the database, even for itself, a role gets the error as it is.
        if not isinstance(error.orig, InsufficientPrivilege) or owner == us:
            raise
        raise MigrationError(
            f"the chat belongs to role {owner}, and role {us} may not act for it: "
            f"run `bbgram migrate` as {owner}, or `GRANT {_quoted(owner)} TO {_quoted(us)}` first"
        ) from error
    return us


def _become(conn: Connection, role: str) -> None:
    conn.exec_driver_sql(f"SET LOCAL ROLE {_quoted(role)}")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'


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
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes.update(connection=conn, schema=schema)
    return config
