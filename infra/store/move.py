"""Moves an installation of an earlier release, whose tables are among the app's, to a schema of its own."""

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
SHARED: Final = ("0001", "0002", "0003", "0004")
"""Revisions of releases that shared a schema. Later ones have one of their own, and stay in it."""
_NEWER: Final = "refused_names"
"""A table that none of them had."""

_SESSION_PATH = text(
    """
    SELECT set_config('search_path', CASE WHEN setting LIKE '%,%' THEN setting ELSE reset_val END, true)
    FROM pg_settings WHERE name = 'search_path'
    """
)
"""Ours alone is on the path unless the address has one; then the role's counts."""
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
_IS_OLDER = text("SELECT to_regclass(:versions) IS NOT NULL AND to_regclass(:newer) IS NULL")


def find_older(conn: Connection, schema: str) -> str | None:
    """Return the schema of the older installation that the search path of the address leads to, if any.

    It takes no rights on the tables.
    """
    path = conn.exec_driver_sql("SHOW search_path").scalar_one()
    conn.execute(_SESSION_PATH)
    place = conn.execute(_PLACE).scalar()
    conn.execute(text("SELECT set_config('search_path', :path, true)"), {"path": path})
    if place is None or _is_ours(conn, schema) or not _is_ours(conn, place):
        return None
    names = {"versions": f'"{place}".alembic_version', "newer": f'"{place}".{_NEWER}'}
    return str(place) if conn.execute(_IS_OLDER, names).scalar() else None


def _is_ours(conn: Connection, schema: str) -> bool:
    wanted = {"tables": list(_OURS), "columns": list(_OURS.values()), "schema": schema}
    return conn.execute(_COLUMNS, wanted).scalar() == len(_OURS)


def older_revision(conn: Connection, place: str) -> str | None:
    """Return the revision of the older installation there."""
    # The app may use Alembic as well, and the same table.
    found = conn.exec_driver_sql(f'SELECT version_num FROM "{place}".alembic_version').scalars()
    return next((revision for revision in found if revision in SHARED), None)


def move(conn: Connection, place: str, revision: str, schema: str) -> None:
    """Move its tables, rows and all. The version table is left to the app if others use it too."""
    tables = [name for made, names in _TABLES.items() if made <= revision for name in names]
    conn.exec_driver_sql(
        "LOCK TABLE " + ", ".join(f'"{place}".{table}' for table in tables) + " IN ACCESS EXCLUSIVE MODE"
    )
    for table in tables:
        conn.exec_driver_sql(f'ALTER TABLE "{place}".{table} SET SCHEMA "{schema}"')
    for made, function in _FUNCTIONS.items():
        if made <= revision:
            conn.exec_driver_sql(f'ALTER FUNCTION "{place}".{function} SET SCHEMA "{schema}"')
    versions = f'"{place}".alembic_version'
    conn.exec_driver_sql(f"DELETE FROM {versions} WHERE version_num = '{revision}'")
    if not conn.exec_driver_sql(f"SELECT count(*) FROM {versions}").scalar():
        conn.exec_driver_sql(f"DROP TABLE {versions}")
