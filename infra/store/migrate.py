"""Upgrades a database to the newest schema with Alembic."""

from pathlib import Path
from time import sleep
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import DeadlockDetected, InsufficientPrivilege, LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from infra.settings.store import SCHEMA
from infra.store.access import close, objects
from infra.store.engine import make_engine
from infra.store.folding import are_current, refresh_functions, unicode_parts
from infra.store.move import SHARED, find_older, move, older_revision
from infra.store.supabase import link

_SCRIPTS = Path(__file__).with_name("migrations")
_LOCK_ID = 0x6262_6772
_LOCK_TIMEOUT = "500ms"
"""Whatever needs a table while a migration waits for its lock waits as well, so this is short."""
_LONG_LOCK_TIMEOUT = "1500ms"
"""For every fifth try during a vacuum: after a second (`deadlock_timeout`), Postgres ends an autovacuum."""
_TRIES: Final = 40
_PAUSE_S: Final = 1.0
"""Pause between tries, so that others can get the locks they wait for."""

_NO_LIMITS = text(
    """
    SELECT set_config(name, '0', true) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
    """
)
_IS_VACUUMED = text("SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE datname = current_database())")
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

    Each migration is a transaction, and so holds its locks no longer than it needs them. A new installation,
    or one that is moved, is a single transaction. Each waits only briefly for locks, and is tried again if it
    does not get them. They run as the owner of the tables, whoever connects. It is safe to call this again,
    and from several processes at once. Raises MigrationError and sqlalchemy.exc.SQLAlchemyError.
    """
    unicode_parts()  # takes a moment, and is kept: not while others wait for our locks
    engine = make_engine(database_url, schema=schema, pooled=True, timeouts=False)
    notes: list[str] = []
    try:
        while True:
            found, is_newest = _try_upgrade(engine, schema)
            notes += found
            if is_newest:
                return notes
    finally:
        engine.dispose()


def _try_upgrade(engine: Engine, schema: str) -> tuple[list[str], bool]:
    """Run the next transaction, again until it gets its locks. Raises what `upgrade` raises."""
    for tries_left in reversed(range(_TRIES)):
        try:
            with engine.begin() as conn:
                conn.execute(_NO_LIMITS)
                conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_ID})")
                is_patient = tries_left % 5 == 0 and conn.execute(_IS_VACUUMED).scalar_one()
                patience = _LONG_LOCK_TIMEOUT if is_patient else _LOCK_TIMEOUT
                conn.exec_driver_sql(f"SET LOCAL lock_timeout = '{patience}'")
                return _upgrade(conn, schema)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable | DeadlockDetected):
                raise
            if not tries_left:
                raise MigrationError(
                    "the tables are in use: stop the workers, and whatever else uses them for long, such as "
                    "a backup, then run `bbgram migrate` again"
                ) from error
            sleep(_PAUSE_S)
    raise AssertionError("unreachable")


def pending(conn: Connection, schema: str = SCHEMA) -> bool:
    """Return whether the schema lacks a migration of this release, or has functions of another one.

    Raises MigrationError.
    """
    return _revision(conn, schema) != _script().get_current_head() or not are_current(conn, schema)


def _upgrade(conn: Connection, schema: str) -> tuple[list[str], bool]:
    """Run the next migration, or all if nobody uses the tables yet; return also whether it was the last."""
    notes = []
    place = find_older(conn, schema)
    us = _become_owner(conn, schema, place or schema)
    revision = _revision(conn, schema)
    if revision in SHARED:
        # Older releases closed nothing. Before the migration locks a table that senders lock after others.
        close(conn, objects(conn, schema))
    # Nor has whoever made the schema beforehand.
    closed = set() if revision is None else objects(conn, schema)
    # They need no table, and a migration may have to fold names by the rules of its release.
    refresh_functions(conn, schema)
    if place and (older := older_revision(conn, place)):
        move(conn, place, older, schema)
        _context(conn, schema).stamp(_script(), older)
        notes.append(f"moved all tables from schema {place} to schema {schema}")
    head = _script().get_current_head()
    if revision != head:
        command.upgrade(_config(conn, schema), "head" if revision is None else "+1")
    close(conn, objects(conn, schema) - closed)
    if _revision(conn, schema) != head:
        return notes, False
    # The owner may lack rights on `auth.users` that whoever connects has.
    _become(conn, us)
    return notes + link(conn, schema), True


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
