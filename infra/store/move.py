"""Moves an installation of an earlier release, whose tables are among the app's, to a schema of its own."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

_TABLES: Final = {
    "0001": ("profiles", "chats", "chat_members", "messages", "dead_letters"),
    "0002": ("devices", "undelivered", "notifications", "archived_chats", "archive_holds"),
}
"""Tables of releases that shared a schema, by the migration that made them."""
_FUNCTIONS: Final = {"0003": "chats_forget_last_to", "0004": "profiles_fold_key"}
_OURS: Final = {"profiles": "username_key", "chats": "user_hi", "chat_members": "delivered_seq"}
"""Columns that distinguish our tables from an app's."""

_SESSION_PATH = text(
    "SELECT set_config('search_path', reset_val, true) FROM pg_settings WHERE name = 'search_path'"
)
_PLACE = text(
    """
    SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass('chat_members')
    """
)
_COLUMNS = text(
    """
    SELECT count(*)
    FROM unnest(CAST(:tables AS text[]), CAST(:columns AS text[])) AS wanted (name, column_name)
    JOIN pg_class c ON c.relname = wanted.name AND c.relnamespace = to_regnamespace(quote_ident(:schema))
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = wanted.column_name
    """
)


@dataclass(frozen=True, slots=True)
class Older:
    """Where the tables of an earlier release are, and their revision."""

    schema: str
    revision: str


def find_older(conn: Connection, schema: str, revisions: Collection[str]) -> Older | None:
    """Return the installation that the search path of the address leads to, if there is one."""
    path = conn.exec_driver_sql("SHOW search_path").scalar_one()
    conn.execute(_SESSION_PATH)
    place = conn.execute(_PLACE).scalar()
    conn.execute(text("SELECT set_config('search_path', :path, true)"), {"path": path})
    if place is None or place == schema:
        return None
    wanted = {"tables": list(_OURS), "columns": list(_OURS.values()), "schema": place}
    if conn.execute(_COLUMNS, wanted).scalar() != len(_OURS):
        return None
    if not conn.execute(text("SELECT to_regclass(:name)"), {"name": f'"{place}".alembic_version'}).scalar():
        return None
    # The app may use Alembic as well, and the same table.
    found = conn.exec_driver_sql(f'SELECT version_num FROM "{place}".alembic_version').scalars()
    ours = [revision for revision in found if revision in revisions]
    return Older(place, ours[0]) if ours else None


def move(conn: Connection, older: Older, schema: str) -> None:
    """Move its tables, rows and all. The version table is left to the app if others use it too."""
    tables = [name for made, names in _TABLES.items() if made <= older.revision for name in names]
    conn.exec_driver_sql(
        "LOCK TABLE "
        + ", ".join(f'"{older.schema}".{table}' for table in tables)
        + " IN ACCESS EXCLUSIVE MODE"
    )
    for table in tables:
        conn.exec_driver_sql(f'ALTER TABLE "{older.schema}".{table} SET SCHEMA "{schema}"')
    for made, function in _FUNCTIONS.items():
        if made <= older.revision:
            conn.exec_driver_sql(f'ALTER FUNCTION "{older.schema}".{function} SET SCHEMA "{schema}"')
    versions = f'"{older.schema}".alembic_version'
    conn.exec_driver_sql(f"DELETE FROM {versions} WHERE version_num = '{older.revision}'")
    if not conn.exec_driver_sql(f"SELECT count(*) FROM {versions}").scalar():
        conn.exec_driver_sql(f"DROP TABLE {versions}")
